"""Which bucket, crop and turn every picture gets."""
