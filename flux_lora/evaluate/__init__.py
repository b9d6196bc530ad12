"""Scores of checkpoints, the choice among them, and the report.

prompts.py    the prompts that are scored: a prompts file or the standard ones -> Suite
clip.py       the scorer: CLIP embeddings of images and sentences
features.py   colours and a vision model's patches, place by place
placement.py  laying the places of a photo over an image
identity.py   which places are the subject's own, and how many of them an image has
negatives.py  what nearly looks like the subject, made from its photos
artefacts.py  grids, lines, noise, blur, blown colours, emptiness
baseline.py   the base and the photos, measured once; images -> numbers
estimate.py   means with bootstrap intervals
scores.py     METRICS: likeness, prompt following, leakage and the others
held_out_loss.py  whether the loss on held-out photos falls
choice.py     learned, then limits, then likeness: what to ship, or nothing; LIMITS
edits.py      an edit on held-out pairs: scores, and the choice
second_opinion.py  where models that take a picture as a whole see it otherwise
plots.py      loss, scores and trade-off as positions to draw
report.py     the HTML report of a run
edit_report.py  the HTML report of an edit
compared_runs.py  the HTML page of several runs side by side
"""
