"""Small formats of a base, and what they leave of an adapter."""
