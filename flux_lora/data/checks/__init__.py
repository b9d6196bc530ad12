"""Checks of captions, images and the set: rules, each with an id, a severity and a fix.

A check is added as a function and its rules in a file of this folder, and as a row in registry.py.

registry.py            every check, one row each; runs them, and refuses to train on errors
captions.py            missing, empty, short and repeated captions; mojibake and stray characters
caption_content.py     addresses, data, praise, watermarks, negations, emoji in captions
caption_style.py       keyword lists, boilerplate, markup, phrases that nearly all captions share
language.py            other languages, misspelled words; edit distance and dictionary
spelling_variants.py   one word in two spellings
trigger.py             the trigger, in captions and as a word; traits that captions should leave to it
tokens.py              T5 and CLIP token counts, and what is truncated
subject_words.py       trigger and class word, and how they are found in captions
image_quality.py       blur, exposure, JPEG blocks, borders, watermarks
masks.py               masks that mark nothing, everything, the wrong side, or are no masks
pairs.py               pairs of an edit that are moved, resized, of other shapes, or the same
duplicates.py          copies, crops of one photo, held-out images among the trained ones
dataset.py             number of images; whether background, light and framing vary
bucket_fit.py          crop loss, upscaling and lone images in the planned buckets
word_lists/            words that the checks know
"""
