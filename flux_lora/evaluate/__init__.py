"""Scores of checkpoints, the choice among them, and the report.

prompts.py   the prompts that are scored: a prompts file or the standard ones -> Suite
clip.py      the scorer: CLIP embeddings of images and sentences
scores.py    METRICS: likeness, adherence, leakage, each with a bootstrap interval
choice.py    which checkpoint to ship, at which strength, and why; LIMITS
report.py    the HTML report of a run
"""
