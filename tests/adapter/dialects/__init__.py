"""Tests of flux_lora/adapter/layouts/."""
