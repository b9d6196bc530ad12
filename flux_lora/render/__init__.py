"""Prompt embeds and an adapter -> images, the same ones that diffusers makes.

pipeline.py   transformer, VAE and scheduler; the sampler
spec.py       render settings: prompts, seeds, size, steps, guidance
sheets.py     contact sheets of many images
"""
