"""Tests of the pictures that are rendered."""
