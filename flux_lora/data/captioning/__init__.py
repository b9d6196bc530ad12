"""Captions proposed by a vision-language model.

captioner.py      description -> caption, proposals for images without one, and writing them
vision_model.py   opens a vision-language model as a function from image to description
"""
