"""Tests of flux_lora/train/."""
