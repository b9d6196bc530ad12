"""A written file is read back as its users' programs will load it, and compared with the trained adapter.

prove.py             one file, through every program that its dialect is for
expected_support.py  which programs a dialect is for, and what a program leaves out of it
loader_check.py      what one program loads, compared with the trained adapter: keys, modules, numbers
diffusers_load.py    the file loaded by diffusers itself, and its effect on the transformer's output
"""
