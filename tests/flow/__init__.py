"""The straight path between a picture and noise."""
