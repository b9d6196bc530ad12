"""What is in a file, whoever wrote it."""
