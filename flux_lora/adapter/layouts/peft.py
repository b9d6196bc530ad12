"""peft's own dialect: a folder of adapter_config.json and adapter_model.safetensors, from PeftModel.save_pretrained.

The tensors say nothing of scale; the config does, and also of things that no LoRA file can carry.
"""

import json
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from flux_lora.adapter.kinds import RESIZE_WITH_BASE, DoRA, LayerDelta, LoRA
from flux_lora.adapter.layouts.names import is_bfl
from flux_lora.adapter.layouts.parts import with_scale
from flux_lora.adapter.layouts.reading import read_state_dict, refuse_keys
from flux_lora.adapter.layouts.scales import PeftScales, peft_scales
from flux_lora.adapter.layouts.spelling import PEFT_ENDS, KeyFormat, other_dialect_fix, refuse_modules, to_keys
from flux_lora.adapter.tensors import Adapter
from flux_lora.errors import AdapterFileError

SPELLING = KeyFormat(dialect="peft", prefix="base_model.model.", ends=PEFT_ENDS, alpha=False, kinds=("LoRA", "DoRA"))
CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
KINDS = ("LORA", "LOHA", "LOKR")
REFUSED: Mapping[str, str] = {
    "modules_to_save": "whole modules trained beside the LoRA",
    "lora_bias": "biases",
    "fan_in_fan_out": "weights the other way up",
    "layer_replication": "layers used several times",
    "trainable_token_indices": "single tokens of an embedding",
    "target_parameters": "parameters that are no linear layer",
    "alora_invocation_tokens": "a LoRA that only some tokens call",
    "use_qalora": "inputs pooled before the LoRA",
    "arrow_config": "several LoRAs and a router",
    "use_bdlora": "factors in blocks",
}
"""What a config can ask for that changes the model otherwise than by adding to a weight."""
ALTERED = re.compile(r"pissa.*|olora|loftq|corda", re.IGNORECASE)
"""Starts that also change the base's weights; the LoRA alone is then not the difference."""


def to_peft(adapter: Adapter, dtype: torch.dtype) -> dict[str, Tensor]:
    """The tensors of adapter_model.safetensors, with the scale folded into `up`."""
    columns = [name for name, change in adapter.deltas.items() if isinstance(change, DoRA) and change.per_input]
    refuse_modules(
        SPELLING.dialect,
        columns,
        "no DoRA by inputs; one is on",
        fix=RESIZE_WITH_BASE if any(is_bfl(name) for name in columns) else other_dialect_fix("lycoris"),
    )
    tensors = to_keys(adapter, SPELLING, dtype)
    return {key: tensor.reshape(-1) if key.endswith("_vector") else tensor for key, tensor in tensors.items()}


def peft_config(adapter: Adapter, base: str = "") -> str:
    """adapter_config.json for those tensors: alpha is the rank, and only fields that every peft knows."""
    layers = {name: _layer(change) for name, change in adapter.deltas.items()}
    rank = max((layer.rank for layer in layers.values()), default=1)
    # a regular expression, because a plain list would match by the ends of names: proj_out, everywhere
    odd = {re.escape(name): layer.rank for name, layer in layers.items() if layer.rank != rank}
    config = {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": base or None,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "modules_to_save": None,
        "target_modules": "|".join(re.escape(name) for name in layers),
        "rank_pattern": {f"^{name}": of for name, of in odd.items()},
        "alpha_pattern": {f"^{name}": of for name, of in odd.items()},
        "use_dora": any(isinstance(change, DoRA) for change in adapter.deltas.values()),
    }
    return json.dumps(config, indent=2)


def from_peft(tensors: Mapping[str, Tensor], config: Mapping[str, object]) -> Adapter:
    """The adapter of a folder's tensors and its config."""
    _check(config)
    scales = peft_scales(config, CONFIG)
    content = read_state_dict(SPELLING, tensors, {})
    refuse_keys("keys for text encoders, which no such folder has,", list(content.text_encoders.deltas))
    changes = {name: _scaled(name, change, scales) for name, change in content.adapter.deltas.items()}
    undecomposed = [name for name, change in changes.items() if not isinstance(change, DoRA)]
    if config.get("use_dora") is True and undecomposed:
        raise AdapterFileError(
            f"{CONFIG} says DoRA, and {undecomposed[0]} has no magnitude ({len(undecomposed)} such module(s))",
            fix="save the adapter again with peft",
        )
    return Adapter(changes)


def _check(config: Mapping[str, object]) -> None:
    kind = str(config.get("peft_type")).upper()
    if kind not in KINDS:
        raise AdapterFileError(
            f"{CONFIG} is of a {kind[:40]} adapter", fix=f"give one of {', '.join(KINDS)}: others are not read"
        )
    asked = [f"{key} ({what})" for key, what in REFUSED.items() if config.get(key)]
    if config.get("bias", "none") != "none":
        asked.append(f"bias={str(config['bias'])[:20]} (biases)")
    start = config.get("init_lora_weights")
    if isinstance(start, str) and ALTERED.fullmatch(start):
        asked.append(f"init_lora_weights={start[:20]} (a base whose weights were changed too)")
    if asked:
        raise AdapterFileError(
            f"{CONFIG} asks for {'; '.join(asked)}, which no LoRA file carries",
            fix="train without it, or merge the adapter into the base with peft",
        )


def _scaled(name: str, change: LayerDelta, scales: PeftScales) -> LayerDelta:
    """peft scales LoKr by alpha / rank even where its factors are whole."""
    rank = _layer(change).rank if isinstance(change, LoRA | DoRA) else 0
    return with_scale(change, scales.scale(name, rank))


def _layer(change: LayerDelta) -> LoRA:
    layer = change.lora if isinstance(change, DoRA) else change
    assert isinstance(layer, LoRA), "other kinds were refused"
    return layer
