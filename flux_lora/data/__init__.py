"""Photos and captions -> batches: find, judge, decode, bucket, cache, batch."""
