"""Maintenance programs of the project; users need none of them."""
