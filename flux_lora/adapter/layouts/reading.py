"""An adapter out of a file's tensors. A key that is not understood is an error: dropping it would give
another adapter than the one in the file."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from flux_lora.adapter.kinds import OFT, DoRA, LayerDelta, LoRA
from flux_lora.adapter.layouts.names import diffusers_names, dotted, is_bfl, is_diffusers
from flux_lora.adapter.layouts.native import from_bfl
from flux_lora.adapter.layouts.parts import ALPHA, delta_from_tensors, with_scale
from flux_lora.adapter.layouts.scales import METADATA_KEY, PeftScales, agree, metadata_scales
from flux_lora.adapter.layouts.spelling import KeyFormat
from flux_lora.adapter.layouts.text_encoders import is_text_encoder, text_encoder_module
from flux_lora.adapter.tensors import Adapter
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
    """What the tensors of a file are."""

    adapter: Adapter
    text_encoders: Adapter
    remarks: tuple[str, ...] = ()


def read_state_dict(
    spelling: KeyFormat, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> StateDictContents:
    """The changes of a file whose keys are spelled so."""
    changes: dict[str, LayerDelta] = {}
    text: dict[str, LayerDelta] = {}
    scales = metadata_scales(metadata)
    grouped, remarks = group_by_module(tensors)
    names = {stem: module_of(spelling, stem) for stem in grouped}
    refuse_keys(f"keys of another layout than {spelling.dialect}", [stem for stem, name in names.items() if not name])
    for stem, name in names.items():
        into = text if is_text_encoder(stem) else changes
        if name is None or name in into:
            raise AdapterFileError(f"the file changes {name} twice, under two names", fix=FIX)
        into[name] = _told(name, delta_from_tensors(stem, grouped[stem]), scales, tensors_tell=ALPHA in grouped[stem])
    if scales and not any(ALPHA in parts for parts in grouped.values()):
        remarks = (*remarks, *_far_scale(changes))
    return StateDictContents(Adapter(from_bfl(changes)), Adapter(text), remarks)


def group_by_module(tensors: Mapping[str, Tensor]) -> tuple[dict[str, dict[str, Tensor]], tuple[str, ...]]:
    """The tensors by module, and by what they are; and what was left out because it is all zero."""
    grouped: dict[str, dict[str, Tensor]] = {}
    unknown, zeros, moved = [], [], []
    for key, tensor in tensors.items():
        end = END.search(key)
        if end is None:
            aside = HARMLESS.fullmatch(key) is not None
            (unknown if not aside else moved if bool(_wide(tensor).any()) else zeros).append(key)
            continue
        part = end["same"] or str(end.lastgroup)
        parts = grouped.setdefault(key[: end.start()], {})
        if part in parts:
            raise AdapterFileError(f"the file has two tensors for {part} of {key[: end.start()]}", fix=FIX)
        parts[part] = _wide(tensor)
    refuse_keys("keys that are not understood,", unknown)
    refuse_keys(
        "changes of norms, biases or whole weights that are not zero, and no other dialect carries them,", moved
    )
    return grouped, (f"{len(zeros)} change(s) of norms and biases are all zero and left out",) if zeros else ()


def module_of(spelling: KeyFormat, stem: str) -> str | None:
    """The module that the beginning of a key means: native or diffusers', or a text encoder's."""
    text = text_encoder_module(stem)
    if text is not None or not stem.startswith(spelling.prefix):
        return text
    name = stem.removeprefix(spelling.prefix)
    name = dotted(name) if spelling.underscores else name
    numbered = NUMBERED.fullmatch(name) if spelling.numbered else None
    if numbered is not None and is_bfl(numbered[1]):
        names = diffusers_names(numbered[1]).names
        return names[int(numbered[2])] if int(numbered[2]) < len(names) else None
    return name if (is_bfl if spelling.native else is_diffusers)(name) else None


def refuse_keys(what: str, keys: list[str]) -> None:
    """Stop at keys that cannot be read."""
    if keys:
        raise AdapterFileError(f"the file holds {what} {min(keys)[:200]!r} ({len(keys)} in all)", fix=FIX)


def _wide(tensor: Tensor) -> Tensor:
    """Eight-bit floats in a dtype that can be computed with and holds all of their values."""
    eight_bits = tensor.is_floating_point() and tensor.element_size() == 1
    return tensor.bfloat16() if eight_bits else tensor


def _far_scale(changes: Mapping[str, LayerDelta]) -> Iterator[str]:
    if any(change.alpha != change.rank for change in changes.values() if isinstance(change, LoRA)):
        yield (
            f"its strength stands in {METADATA_KEY} only: ComfyUI and older diffusers read it at another; "
            "a converted file does not have this"
        )


def _told(name: str, change: LayerDelta, scales: Mapping[str, PeftScales], *, tensors_tell: bool) -> LayerDelta:
    """The change at the scale of the metadata, if there is one; two that differ are an error."""
    model = name.partition(".")[0] if name.startswith("text_encoder") else "transformer"
    told = scales.get(model) or (scales.get("") if model == "transformer" else None)
    layer = change.lora if isinstance(change, DoRA) else change
    if told is None or isinstance(layer, OFT) or not (is_diffusers(name) or model != "transformer"):
        return change
    scale = told.scale(name.removeprefix(f"{model}."), layer.rank if isinstance(layer, LoRA) else 0)
    if tensors_tell and not agree(scale, layer.scale):
        raise AdapterFileError(
            f"the alpha of {name} gives the scale {layer.scale:g}, {told.where} in the metadata gives {scale:g}: "
            "programs would read it at different strengths",
            fix="export it again from its trainer, with one of the two",
        )
    return change if tensors_tell else with_scale(change, scale)
