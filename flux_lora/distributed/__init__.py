"""Processes that work on one run together.

processes.py  rank, world size, broadcast, sums, ending together
"""
