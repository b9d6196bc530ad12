"""What can be seen in a picture, as numbers."""
