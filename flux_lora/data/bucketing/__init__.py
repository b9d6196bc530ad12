"""Aspect-ratio bucketing: the bucket and crop of every image, and what each loses by it.

buckets.py      buckets of a resolution; the bucket that an image alone would have
clustering.py   which groups of images share a bucket
assign.py       a bucket for every image of a set, and what an assignment costs; kohya's buckets as the baseline
crops.py        the part of an image that fills its bucket; the subject's box that it must hold
plan.py         samples -> buckets, crops and exposures of an epoch
"""
