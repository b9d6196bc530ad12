"""The loop as a stream of facts, what it keeps, and who is told."""
