"""What the programs that load FLUX LoRA files do with one, each by its own rules.

Written anew from measurements (which keys a program uses, and at which strength), and apart from the
writers in layouts/ on purpose: a proof that shares its table with the writer proves nothing.
"""
