"""Prompt embeds and an adapter -> images, the same ones that diffusers makes.

pipeline.py   transformer, VAE and scheduler; the sampler
spec.py       render settings: prompts, seeds, size, steps, guidance, weights
kept.py       PNG files that say how they were made, and are not rendered again
sheets.py     contact sheets of many images
"""
