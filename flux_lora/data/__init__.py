"""Images and captions -> batches: find, scan, check, bucket, encode, batch.

sources/       folders, tables, shards and Hub datasets -> samples
checks/        rules for captions, images and the set -> findings
captioning/    captions proposed by a vision-language model
images/        image files -> upright sRGB pixels; masks; thumbnails
image_stats/   sharpness, exposure, borders, lettering, perceptual hashes
bucketing/     the bucket and crop of every image
cache/         latents, prompt embeds and masks on disk
report/        the dataset report as HTML; findings as text, JSON, SARIF, JUnit XML
samples.py     Sample: an image file and its caption
scan.py        decode and measure each image once
held_out.py    which images are held out where there is no folder of them
findings.py    Finding and Rule: what checks yield
batches.py     encoded samples -> batches, in an order that depends on the seed alone
progress.py    the type of progress callbacks
"""
