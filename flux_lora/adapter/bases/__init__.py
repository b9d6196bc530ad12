"""A base model on disk: what it holds, its weights one at a time, and an adapter added to them for good."""
