"""Statistics of an image, measured once and judged in checks/.

measure.py     ImageStats of one image: size, format, exposure, and all below
sharpness.py   sharpness, detail finer than half the size, JPEG blockiness
borders.py     letterboxes and frames, the background colour, the subject's box
mask_stats.py  how much of an image its mask lets count
lettering.py   watermarks: lines of small letters by their strokes, words by OCR
copies.py      perceptual hashes, partial and mirrored copies, EfficientNet embeddings
"""
