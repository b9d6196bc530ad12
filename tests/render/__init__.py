"""Tests of the images that are rendered."""
