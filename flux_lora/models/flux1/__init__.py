"""FLUX.1: dev, schnell, and the embedded mini base, which share one architecture.

family.py      the protocol, for FLUX.1
caption_tokenizers.py  CLIP's and T5's, alone
load.py        transformer, VAE and text encoders, frozen
single_file.py how a file with its transformer is known
part_files.py  how files with its VAE, CLIP and T5 are known
weightless.py  all parts on the meta device
tokenizers/    its two tokenizers: tokens are counted before the model is fetched
text.py        captions -> T5 and pooled CLIP embeddings
latents.py     pixels <-> latents
velocity.py    packing, positions, guidance
sampling.py    images by diffusers' FluxPipeline
layers.py      linear layers, their shapes, and the groups that a LoRA may change
programs.py    releases, and its parts in diffusers, ComfyUI, modelspec and sd-scripts
diffusers_lora.py  LoRA files loaded by diffusers itself
"""
