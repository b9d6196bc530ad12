"""Tests of flux_lora/adapter/inspection/."""
