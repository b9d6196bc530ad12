"""The programs behind the mini base: the world it knows, and how each of its parts is trained."""
