"""Tests of flux_lora/adapter/bases/."""
