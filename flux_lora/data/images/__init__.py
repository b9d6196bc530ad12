"""Image files -> upright sRGB pixels, transparency composited, refused or made a mask.

image_file.py   open a file: format, size limits, EXIF orientation, frames; no pixels
colour.py       bit depth, ICC profile, CMYK and palette -> 8-bit sRGB
decode.py       file -> decoded image: oriented, sRGB, opaque
masks.py        loss masks: read, and whether one fits its image
resize.py       Lanczos resize of a region; thumbnails and mask outlines for the report
"""
