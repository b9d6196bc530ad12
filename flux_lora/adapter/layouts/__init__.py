"""Naming schemes for adapter files, one module each."""
