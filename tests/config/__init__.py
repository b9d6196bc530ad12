"""Tests of flux_lora.config."""
