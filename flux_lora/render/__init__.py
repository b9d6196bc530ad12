"""Text and an adapter -> pictures, the same ones diffusers makes."""
