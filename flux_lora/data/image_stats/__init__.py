"""Statistics of an image, measured once and judged in checks/.

measure.py     ImageStats of one image: size, format, exposure, and all below
sharpness.py   sharpness, how far an image was enlarged, JPEG blockiness
noise.py       how noisy it is, told from texture
pieces.py      photos side by side, and sides filled with blur
borders.py     letterboxes and frames, the background colour, the subject's box
mask_stats.py  how much of an image its mask lets count
pair_stats.py  how an image lies over what it was made from: moved, resized, the same
shared_marks.py  watermarks: what lies over several images at one place
lettering.py   watermarks: lines of small letters by their strokes, words by OCR
copies.py      perceptual hashes, partial copies, EfficientNet embeddings
turned_copies.py  mirrored copies, and those turned by quarters
"""
