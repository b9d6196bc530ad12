"""The straight path between data and noise. Tensors and generators, no model.

points.py      a noisy point, its sigma and its velocity
sigmas.py      how sigmas are drawn, and their shift
randomness.py  a generator for the k-th draw of a run, whatever came before
"""
