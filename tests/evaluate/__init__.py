"""Tests of scores, choice and report."""
