"""Photos and captions -> batches."""
