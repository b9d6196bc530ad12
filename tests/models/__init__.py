"""The base model, beside diffusers."""
