"""What is true of base models. A family is a package here and a row in registry.py.

family.py        the protocol of a family; prompt embeds, latents, velocity
programs.py      how other programs name a family, its releases and its parts
registry.py      which families there are, and whose a base is
flux1/           FLUX.1
flux2/           FLUX.2 klein and dev
flux3/           FLUX.3 klein, which needs diffusers 0.42
pipeline_folder.py  where a pipeline and its parts are
weight_file.py   the tensors of a model's files: headers, shapes, numbers
packed_weights.py  weights that files keep in 8 or 4 bits: fp8, bitsandbytes
gguf_file.py     the tensors of a GGUF file
single_file.py   a transformer out of one file: BFL's names, prefixes
vae_file.py      a VAE out of one file
text_file.py     a text encoder out of one file
fused_weight.py  what a weight of BFL's is in diffusers
pipeline_parts.py   what families do alike with its parts
device.py        device and dtype of a run
hub.py           files from the Hugging Face hub; fingerprints of weights
frozen_linear.py the base's layers in 8 or 4 bits
weight_stream.py a transformer filled from its files, tensor by tensor
compiled.py      blocks by torch.compile, after a test
offload.py       layers whose weights wait in host memory
counting.py      memory, FLOPs and kernels of work, counted on the meta device
quantization.py  fp8, Q8_0, Q4_K and NF4: what a weight becomes
mini/            the embedded base
"""
