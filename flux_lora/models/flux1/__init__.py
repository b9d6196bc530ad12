"""FLUX.1: dev, schnell, and the embedded mini base, which share one architecture."""
