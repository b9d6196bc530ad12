"""The LoRA apart from any model: its tensors, its files, and the way into a transformer."""

import logging

# bitsandbytes complains about a kernel that is not ours to use as soon as peft is imported.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
