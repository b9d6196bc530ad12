"""What is true of a base model: its files, its text and image encoders, its velocity. One package per family."""
