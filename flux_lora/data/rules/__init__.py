"""Rules: what may be wrong with captions, pictures and the set, each with an id, a severity and a way out."""
