"""The programs that load FLUX LoRA files, simulated: what each does with a file, by its own rules.

diffusers.py        FluxPipeline.load_lora_weights, of 0.33 and later and of 0.32
diffusers_flux2.py  the same of Flux2KleinPipeline
diffusers_flux3.py  the same of Flux3ModularPipeline
comfyui.py          ComfyUI, and Forge
sdscripts.py        kohya's sd-scripts
keys.py             the tensors of a file by module and ending; deltas of fused weights split
result.py           Loader and its LoadResult; alpha from metadata
compatibility.py    LOADERS by name, and which of them load a file
"""
