"""Tests of flux_lora/adapter/labels/."""
