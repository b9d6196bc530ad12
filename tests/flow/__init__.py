"""The straight path between an image and noise."""
