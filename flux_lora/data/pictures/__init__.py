"""Files -> upright sRGB pixels with their transparency settled."""
