"""Tests of what goes beside the exported file."""
