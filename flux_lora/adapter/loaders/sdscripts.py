"""sd-scripts (48d368fa): its own names only, and alpha on every module.

Its own network and merge_to were run on every spelling of the tests and every dialect that is written here:
same deltas on every weight.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from torch import Tensor

from flux_lora.adapter.layer_types import LayerDelta, LoRA
from flux_lora.adapter.loaders.keys import ALPHA, PAIRS, alpha_of, lora_of, modules_of, unfuse
from flux_lora.adapter.loaders.result import Loader, LoadResult, stopped
from flux_lora.models.flux1.layers import CLIP_NAMES, FINAL, T5_NAMES, fused_weights
from flux_lora.models.fused_weight import FusedWeight

SPELLING = "down up"


def sdscripts_module_names(names: Collection[str]) -> dict[str, FusedWeight]:
    """The module names that it knows (BFL's with underscores, without the final layer) and their weights."""
    known = {
        f"lora_unet_{bfl.replace('.', '_')}": weight for bfl, weight in fused_weights(names).items() if bfl not in FINAL
    }
    clip = {f"lora_te1_{name.replace('.', '_')}": FusedWeight((f"text_encoder.{name}",)) for name in CLIP_NAMES}
    t5 = {f"lora_te3_{name.replace('.', '_')}": FusedWeight((f"text_encoder_2.{name}",)) for name in T5_NAMES}
    return known | clip | t5


def load_in_sdscripts(tensors: Mapping[str, Tensor], _: Mapping[str, str], names: Collection[str]) -> LoadResult:
    """What sd-scripts does with a file: unknown modules are skipped without a message, a missing alpha is an error."""
    known = sdscripts_module_names(names)
    deltas: dict[str, LayerDelta] = {}
    used: set[str] = set()
    for stem, module in modules_of(tensors).items():
        if stem not in known or not module.has(*PAIRS[SPELLING]):
            continue
        alpha = alpha_of(module)
        if alpha is None:
            return stopped(f"stops with a KeyError: {stem}{ALPHA} is not in the file", tensors)
        layer = lora_of(module, SPELLING, alpha)
        unfused = {} if layer is None else unfuse(_alpha_0_is_rank(layer), known[stem])
        deltas |= unfused
        used |= module.keys((*PAIRS[SPELLING], ALPHA)) if unfused else set()
    return LoadResult(deltas=deltas, unused=tuple(sorted(set(tensors) - used)))


def _alpha_0_is_rank(layer: LoRA) -> LoRA:
    return layer if layer.alpha else replace(layer, alpha=float(layer.rank))


SD_SCRIPTS = Loader("sd-scripts", "kohya-ss/sd-scripts, measured at 48d368fa", load_in_sdscripts)
