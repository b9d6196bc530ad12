"""Tests of flux_lora/adapter/quantised/."""
