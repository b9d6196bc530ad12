"""What a file says of itself: its metadata, its hashes, and the recipe it was made by."""
