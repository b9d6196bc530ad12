"""sd-scripts (48d368fa): its own names only, and alpha on every module.

Its own network and merge_to were run on every spelling of the tests and every dialect that is written here:
same changes to every weight.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from torch import Tensor

from flux_lora.adapter.kinds import LayerDelta, LoRA
from flux_lora.adapter.readers.architecture import CLIP_NAMES, FINAL, T5_NAMES, FusedWeight, fused_weights
from flux_lora.adapter.readers.consumed import Loader, LoadResult, stopped
from flux_lora.adapter.readers.landing import unfuse
from flux_lora.adapter.readers.spelling import ALPHA, PAIRS, alpha_of, lora_of, modules_of

SPELLED = "down up"


def sdscripts_module_names(names: Collection[str]) -> dict[str, FusedWeight]:
    """The module names that it knows: BFL's with underscores, without the final layer."""
    known = {
        f"lora_unet_{bfl.replace('.', '_')}": seat for bfl, seat in fused_weights(names).items() if bfl not in FINAL
    }
    clip = {f"lora_te1_{name.replace('.', '_')}": FusedWeight((f"text_encoder.{name}",)) for name in CLIP_NAMES}
    t5 = {f"lora_te3_{name.replace('.', '_')}": FusedWeight((f"text_encoder_2.{name}",)) for name in T5_NAMES}
    return known | clip | t5


def load_in_sdscripts(tensors: Mapping[str, Tensor], _: Mapping[str, str], names: Collection[str]) -> LoadResult:
    """sd-scripts' reading: what it does not know it skips without a word."""
    known = sdscripts_module_names(names)
    changes: dict[str, LayerDelta] = {}
    used: set[str] = set()
    for stem, module in modules_of(tensors).items():
        if stem not in known or not module.has(*PAIRS[SPELLED]):
            continue
        alpha = alpha_of(module)
        if alpha is None:
            return stopped(f"stops with a KeyError: {stem}{ALPHA} is not in the file", tensors)
        layer = lora_of(module, SPELLED, alpha)
        landings = {} if layer is None else unfuse(_alpha_0_is_rank(layer), known[stem])
        changes |= landings
        used |= module.keys((*PAIRS[SPELLED], ALPHA)) if landings else set()
    return LoadResult(deltas=changes, unused=tuple(sorted(set(tensors) - used)))


def _alpha_0_is_rank(layer: LoRA) -> LoRA:
    return layer if layer.alpha else replace(layer, alpha=float(layer.rank))


SD_SCRIPTS = Loader("sd-scripts", "kohya-ss/sd-scripts, measured at 48d368fa", load_in_sdscripts)
