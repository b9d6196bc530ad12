"""What each verb does: wiring only, each reads as a list."""
