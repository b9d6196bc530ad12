"""What was written is read back as its users' programs will read it, and compared with what was trained."""
