"""A state dict -> an adapter, alpha from metadata included. A key that is not understood is an error.

Tensors have the shapes that module_tensors.py gives.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from torch import Tensor

from flux_lora.adapter.dialects.alpha import METADATA_KEY, PeftScales, agree, metadata_scales
from flux_lora.adapter.dialects.bfl import from_bfl
from flux_lora.adapter.dialects.keys import KeyFormat
from flux_lora.adapter.dialects.module_names import MOST_KEYS, diffusers_names, dotted, is_bfl, is_diffusers
from flux_lora.adapter.dialects.module_tensors import ALPHA, delta_from_tensors, with_scale, without_fp8
from flux_lora.adapter.dialects.text_encoders import is_text_encoder, text_encoder_module
from flux_lora.adapter.layer_types import OFT, Adapter, DoRA, LayerDelta, LoRA
from flux_lora.errors import AdapterFileError

END = re.compile(
    r"\.(?:(?P<down>lora_A(?:\.default)?\.weight|lora_down\.weight|lora\.down\.weight|lora_linear_layer\.down\.weight)"
    r"|(?P<up>lora_B(?:\.default)?\.weight|lora_up\.weight|lora\.up\.weight|lora_linear_layer\.up\.weight)"
    r"|(?P<magnitude>lora_magnitude_vector(?:\.default)?(?:\.weight)?|dora_scale|magnitude)"
    r"|(?P<same>alpha|lokr_w[12](?:_[ab])?|hada_w[12]_[ab]|oft_blocks|rescale))$"
)
HARMLESS = re.compile(r".+\.(?:diff|diff_b|lora_B(?:\.default)?\.bias)$")
"""Changes of norms and biases, harmless where they are all zero; some trainers write them so."""
NUMBERED = re.compile(r"(.+\.(?:qkv|linear1))\.([0-3])")
FIX = "give a LoRA for FLUX.1, whole and from one trainer"


@dataclass(frozen=True)
class StateDictContents:
    """The adapter of a file, and that of its text encoders."""

    adapter: Adapter
    """By diffusers' module name; BFL's for a fused module that cannot be split."""
    text_encoders: Adapter
    """By the names of text_encoders.py."""
    remarks: tuple[str, ...] = ()


def read_state_dict(
    key_format: KeyFormat, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> StateDictContents:
    """The contents of a file in this key format; AdapterFileError for keys of another, and modules under two names."""
    deltas: dict[str, LayerDelta] = {}
    text_deltas: dict[str, LayerDelta] = {}
    scales = metadata_scales(metadata)
    grouped, remarks = group_by_module(tensors)
    names = {stem: module_of(key_format, stem) for stem in grouped}
    refuse_keys(f"keys of another layout than {key_format.dialect}", [stem for stem, name in names.items() if not name])
    for stem, name in names.items():
        target = text_deltas if is_text_encoder(stem) else deltas
        if name is None or name in target:
            raise AdapterFileError(f"the file changes {name} twice, under two names", fix=FIX)
        delta = delta_from_tensors(stem, grouped[stem])
        target[name] = _at_metadata_scale(name, delta, scales, has_alpha=ALPHA in grouped[stem])
    if scales and not any(ALPHA in roles for roles in grouped.values()):
        remarks = (*remarks, *_scale_in_metadata_only(deltas))
    return StateDictContents(Adapter(from_bfl(deltas)), Adapter(text_deltas), remarks)


def group_by_module(tensors: Mapping[str, Tensor]) -> tuple[dict[str, dict[str, Tensor]], tuple[str, ...]]:
    """The tensors by module and role, and a remark on those left out because they are all zero."""
    grouped: dict[str, dict[str, Tensor]] = {}
    unknown, zeros, nonzero = [], [], []
    for key, tensor in tensors.items():
        end = END.search(key)
        if end is None:
            harmless = HARMLESS.fullmatch(key) is not None
            (unknown if not harmless else nonzero if bool(without_fp8(tensor).any()) else zeros).append(key)
            continue
        role = end["same"] or str(end.lastgroup)
        roles = grouped.setdefault(key[: end.start()], {})
        if role in roles:
            raise AdapterFileError(f"the file has two tensors for {role} of {key[: end.start()]}", fix=FIX)
        roles[role] = tensor
    refuse_keys("keys that are not understood,", unknown)
    refuse_keys(
        "changes of norms, biases or whole weights that are not zero, and no other dialect carries them,", nonzero
    )
    return grouped, (f"{len(zeros)} change(s) of norms and biases are all zero and left out",) if zeros else ()


def module_of(key_format: KeyFormat, stem: str) -> str | None:
    """The module (BFL's, diffusers' or a text encoder's) of a key without its ending; None if the format has none."""
    text = text_encoder_module(stem)
    if text is not None or not stem.startswith(key_format.prefix):
        return text
    name = stem.removeprefix(key_format.prefix)
    name = dotted(name) if key_format.underscores else name
    numbered = NUMBERED.fullmatch(name) if key_format.numbered else None
    if numbered is not None and is_bfl(numbered[1]):
        names = diffusers_names(numbered[1]).names
        return names[int(numbered[2])] if int(numbered[2]) < len(names) else None
    return name if (is_bfl if key_format.native else is_diffusers)(name) else None


@lru_cache(maxsize=MOST_KEYS)
def stem_of(key: str) -> str:
    """The key without its ending."""
    return END.sub("", key)


def refuse_keys(what: str, keys: list[str]) -> None:
    """AdapterFileError where there are keys that cannot be read."""
    if keys:
        raise AdapterFileError(f"the file holds {what} {min(keys)[:200]!r} ({len(keys)} in all)", fix=FIX)


def _scale_in_metadata_only(deltas: Mapping[str, LayerDelta]) -> Iterator[str]:
    if any(delta.alpha != delta.rank for delta in deltas.values() if isinstance(delta, LoRA)):
        yield (
            f"its strength stands in {METADATA_KEY} only: ComfyUI and older diffusers read it at another; "
            "a converted file does not have this"
        )


def _at_metadata_scale(
    name: str, delta: LayerDelta, scales: Mapping[str, PeftScales], *, has_alpha: bool
) -> LayerDelta:
    """The delta at the metadata's scale, if it has one; AdapterFileError where the file's alpha gives another."""
    model = name.partition(".")[0] if name.startswith("text_encoder") else "transformer"
    metadata = scales.get(model) or (scales.get("") if model == "transformer" else None)
    layer = delta.lora if isinstance(delta, DoRA) else delta
    if metadata is None or isinstance(layer, OFT) or not (is_diffusers(name) or model != "transformer"):
        return delta
    scale = metadata.scale(name.removeprefix(f"{model}."), layer.rank if isinstance(layer, LoRA) else 0)
    if has_alpha and not agree(scale, layer.scale):
        raise AdapterFileError(
            f"the alpha of {name} gives the scale {layer.scale:g}, {metadata.where} in the metadata gives {scale:g}: "
            "programs would read it at different strengths",
            fix="export it again from its trainer, with one of the two",
        )
    return delta if has_alpha else with_scale(delta, scale)
