"""The straight path between a picture and noise. Tensors and generators, no model."""
