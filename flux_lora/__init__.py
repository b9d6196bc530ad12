"""Teach a FLUX model a product, a character or a look, and prove that it learned it."""

__version__ = "0.1.0"
