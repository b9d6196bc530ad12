"""FLUX.3 image klein: the base, and the one distilled to sixteen steps (a flow map). Needs diffusers 0.42.

family.py      the protocol, for both
layers.py      sizes; linear layers, their shapes, and the groups that a LoRA may change
caption_tokenizer.py  the tokenizer, the words that a caption is put between, and the window it is padded to
diffusers_classes.py  diffusers' own, or what to do where they are missing
single_file.py how a file with its transformer is known
load.py        transformer and text encoder, frozen; the VAE is FLUX.2's
weightless.py  all parts on the meta device
text.py        captions -> eight layers of Qwen3-VL, side by side
velocity.py    tokens, positions, reference images
sampling.py    images by diffusers' modular pipeline; the sigma shift
programs.py    releases, and its parts in diffusers, ComfyUI and modelspec
diffusers_lora.py  LoRA files loaded by diffusers itself
"""
