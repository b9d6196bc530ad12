"""Captions proposed by a vision-language model."""
