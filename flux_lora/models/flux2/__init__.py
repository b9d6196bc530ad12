"""FLUX.2: klein, 4B and 9B, as bases and distilled to four steps; and dev.

family.py      the protocol, for each size
layers.py      sizes; linear layers, their shapes, and the groups that a LoRA may change
caption_tokenizer.py  Qwen's tokenizer (its merges are in tokenizer/), and the words around klein's captions
mistral_tokenizer.py  Mistral's, and the words around dev's
text_models.py klein's text encoder and dev's behind one protocol
load.py        transformer, VAE, text encoder and scheduler, frozen
single_file.py how a file with its transformer is known
part_files.py  how files with its VAE and Qwen3 are known
weightless.py  all parts on the meta device
decoders.py    both as far as they are read
text.py        captions -> three layers of a decoder, side by side
latents.py     pixels <-> latents: 2 x 2 patches, normalised
velocity.py    tokens, positions, reference images
sampling.py    images by diffusers' Flux2KleinPipeline and Flux2Pipeline; their shift, and that of training
programs.py    releases, and its parts in diffusers, ComfyUI and modelspec
diffusers_lora.py  LoRA files loaded by diffusers itself
"""
