"""Where samples come from: folders, tables, shards and datasets; every file that is not used is accounted for.

find.py         all sources of a recipe -> samples; expands braces and globs
source.py       options and result of reading a source, and the rules about its files
folders.py      a folder of images, with the captions, masks and tables in it
listing.py      the files of a folder by kind, and files that share a stem
captions.py     sidecar and table captions of an image, and which of them is used
masks.py        which files are masks, and of which images
references.py   what each image was made from: pairs of before and after
rows.py         rows of metadata.jsonl, .csv and .parquet
shards.py       rows of WebDataset tars
hub.py          rows of `datasets` datasets, by hub id or as saved
unpack.py       images in rows -> files, named by content; the index of what was unpacked
text_files.py   decodes captions: utf-8, utf-16 or cp1252
"""
