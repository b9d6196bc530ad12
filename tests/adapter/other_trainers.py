"""One tiny file of every dialect that is met in the wild, key by key.

Shape letters: h the transformer's width, r the rank.
"""

from collections.abc import Callable, Mapping

import torch
from safetensors.torch import save
from torch import Generator, Tensor

h, r = 8, 2
Tensors = dict[str, Tensor]

SPLIT = {
    "transformer_blocks.0.attn.to_q": (h, h),
    "transformer_blocks.0.attn.add_k_proj": (h, h),
    "transformer_blocks.0.attn.to_out.0": (h, h),
    "transformer_blocks.0.ff.net.0.proj": (4 * h, h),
    "transformer_blocks.0.ff_context.net.2": (h, 4 * h),
    "transformer_blocks.0.norm1.linear": (6 * h, h),
    "single_transformer_blocks.1.attn.to_v": (h, h),
    "single_transformer_blocks.1.proj_mlp": (4 * h, h),
    "single_transformer_blocks.1.proj_out": (h, 5 * h),
}
FUSED = {
    "double_blocks.0.img_attn.qkv": (3 * h, h),
    "double_blocks.0.txt_attn.proj": (h, h),
    "double_blocks.0.img_mlp.0": (4 * h, h),
    "single_blocks.1.linear1": (7 * h, h),
    "single_blocks.1.linear2": (h, 5 * h),
    "single_blocks.1.modulation.lin": (3 * h, h),
}
CLIP = {"text_model.encoder.layers.0.self_attn.q_proj": (h, h), "text_model.encoder.layers.3.mlp.fc1": (4 * h, h)}
T5 = {"encoder.block.0.layer.0.SelfAttention.q": (h, h)}
XLABS = {
    "double_blocks.0.processor.qkv_lora1": (3 * h, h),
    "double_blocks.0.processor.proj_lora2": (h, h),
    "single_blocks.1.processor.qkv_lora": (3 * h, h),
    "single_blocks.1.processor.proj_lora": (h, 5 * h),
}
DIFFSYNTH = {
    "blocks.0.attn.a_to_qkv": (3 * h, h),
    "blocks.0.attn.b_to_out": (h, h),
    "blocks.0.ff_a.0": (4 * h, h),
    "blocks.0.norm1_b.linear": (6 * h, h),
    "single_blocks.1.to_qkv_mlp": (7 * h, h),
    "single_blocks.1.proj_out": (h, 5 * h),
    "single_blocks.1.norm.linear": (3 * h, h),
}
AB, DOWN_UP, PLAIN = ("lora_A", "lora_B"), ("lora_down", "lora_up"), ("down", "up")


def some(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=Generator().manual_seed(sum(shape)))


def lora(
    shapes: Mapping[str, tuple[int, int]], prefix: str, sides: tuple[str, str], alpha: float = 0, *, flat: bool = False
) -> Tensors:
    made = {}
    for name, (outputs, inputs) in shapes.items():
        stem = prefix + (name.replace(".", "_") if flat else name)
        made[f"{stem}.{sides[0]}.weight"] = some(r, inputs)
        made[f"{stem}.{sides[1]}.weight"] = some(outputs, r).bfloat16().to(torch.float32)
        if alpha:
            made[f"{stem}.alpha"] = torch.tensor(alpha)
    return made


def each(
    shapes: Mapping[str, tuple[int, int]], prefix: str, *, flat: bool, parts: Callable[[int, int], Tensors]
) -> Tensors:
    return {
        f"{prefix}{name.replace('.', '_') if flat else name}.{part}": tensor
        for name, (outputs, inputs) in shapes.items()
        for part, tensor in parts(outputs, inputs).items()
    }


def lokr(outputs: int, inputs: int) -> Tensors:
    return {
        "lokr_w1": some(2, 2),
        "lokr_w2_a": some(outputs // 2, r),
        "lokr_w2_b": some(r, inputs // 2),
        "alpha": torch.tensor(1.0),
    }


def loha(outputs: int, inputs: int) -> Tensors:
    factors = {f"hada_w{number}_{side}": some(*shape) for number in (1, 2) for side, shape in _ab(outputs, inputs)}
    return {**factors, "alpha": torch.tensor(1.0)}


def dora(outputs: int, inputs: int) -> Tensors:
    sides = {"lora_A.weight": some(r, inputs), "lora_B.weight": some(outputs, r)}
    return {**sides, "lora_magnitude_vector": some(outputs)}


def dora_lycoris(outputs: int, inputs: int) -> Tensors:
    sides = {"lora_down.weight": some(r, inputs), "lora_up.weight": some(outputs, r), "alpha": torch.tensor(1.0)}
    return {**sides, "dora_scale": some(1, inputs)}


def oft(outputs: int, inputs: int) -> Tensors:
    return {"oft_blocks": some(outputs // 4, 4, 4), "alpha": torch.tensor(1e-3)}


def _ab(outputs: int, inputs: int) -> tuple[tuple[str, tuple[int, int]], ...]:
    return ("a", (outputs, r)), ("b", (r, inputs))


DIALECTS: dict[str, Tensors] = {
    "diffusers": lora(SPLIT, "transformer.", AB),
    "diffusers with alpha": lora(SPLIT, "transformer.", AB, 1.0),
    "bare diffusers": lora(SPLIT, "", AB),
    "peft": lora(SPLIT, "base_model.model.", AB),
    "fal": lora(FUSED, "base_model.model.", AB),
    "kohya": lora(FUSED, "lora_unet_", DOWN_UP, 1.0, flat=True),
    "kohya with text encoders": lora(FUSED, "lora_unet_", DOWN_UP, 1.0, flat=True)
    | lora(CLIP, "lora_te1_", DOWN_UP, 1.0, flat=True)
    | lora(T5, "lora_te3_", DOWN_UP, 1.0, flat=True),
    "comfyui": lora(FUSED, "diffusion_model.", DOWN_UP, 1.0),
    "comfyui A/B": lora(FUSED, "diffusion_model.", AB),
    "simpletuner comfyui": lora(SPLIT, "diffusion_model.", AB, 1.0),
    "bfl": lora(FUSED, "", AB, 1.0),
    "onetrainer": lora(SPLIT, "lora_transformer_", DOWN_UP, 1.0, flat=True),
    "diffsynth": lora(DIFFSYNTH, "", ("lora_A.default", "lora_B.default")),
    "xlabs": lora(XLABS, "", PLAIN),
    "lycoris lora": lora(SPLIT, "lycoris_", DOWN_UP, 1.0, flat=True),
    "lycoris lokr": each(SPLIT, "lycoris_", flat=True, parts=lokr),
    "ai-toolkit lokr": each(SPLIT, "transformer.", flat=False, parts=lokr),
    "lycoris loha": each(SPLIT, "lycoris_", flat=True, parts=loha),
    "lycoris oft": each(SPLIT, "lycoris_", flat=True, parts=oft),
    "peft dora": each(SPLIT, "transformer.", flat=False, parts=dora),
    "lycoris dora": each(FUSED, "lora_unet_", flat=True, parts=dora_lycoris),
    "diffusers with CLIP": lora(SPLIT, "transformer.", AB) | lora(CLIP, "text_encoder.", AB),
    "sdxl": lora({"input_blocks_4_1_attn": (h, h)}, "lora_unet_", DOWN_UP, 1.0),
}
METADATA = {
    "format": "pt",
    "ss_output_name": "mug",
    "ss_network_dim": "2",
    "modelspec.trigger_phrase": "zkmug",
    "sshs_model_hash": "0" * 64,
}
SEEDS = {name: save(tensors, METADATA) for name, tensors in DIALECTS.items()}
