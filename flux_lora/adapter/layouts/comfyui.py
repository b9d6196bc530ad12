"""Which diffusers module names ComfyUI's FLUX loader knows, as a table.

It maps them onto its own fused layers while loading (comfy/utils.py, flux_to_diffusers) and logs
"lora key not loaded" for a name it does not know; a file with such a name is a weaker LoRA there.
"""

import re
from collections.abc import Iterable

DOUBLE = r"transformer_blocks\.\d+\."
SINGLE = r"single_transformer_blocks\.\d+\."

KNOWN = (
    rf"{DOUBLE}attn\.(to_[qkv]|to_out\.0)",  # img_attn.qkv (a third of its rows each), img_attn.proj
    rf"{DOUBLE}attn\.(add_[qkv]_proj|to_add_out)",  # txt_attn.qkv, txt_attn.proj
    rf"{DOUBLE}ff\.net\.(0\.proj|2)",  # img_mlp.0, img_mlp.2
    rf"{DOUBLE}ff_context\.net\.(0\.proj|2)",  # txt_mlp.0, txt_mlp.2
    rf"{DOUBLE}norm1(_context)?\.linear",  # img_mod.lin, txt_mod.lin
    rf"{SINGLE}(attn\.to_[qkv]|proj_mlp)",  # linear1 (rows h, h, h, 4h)
    rf"{SINGLE}proj_out",  # linear2
    rf"{SINGLE}norm\.linear",  # modulation.lin
    r"x_embedder|context_embedder",  # img_in, txt_in
    r"time_text_embed\.(timestep|text|guidance)_embedder\.linear_[12]",  # time_in, vector_in, guidance_in
    r"proj_out|norm_out\.linear",  # final_layer.linear, final_layer.adaLN_modulation.1 (halves swapped)
)
PATTERN = re.compile("|".join(KNOWN))


def unknown_to_comfyui(names: Iterable[str]) -> list[str]:
    """The modules that ComfyUI would leave out."""
    return [name for name in names if not PATTERN.fullmatch(name)]
