"""peft's dialect: a folder of adapter_config.json and adapter_model.safetensors, from PeftModel.save_pretrained.

The tensors have no alpha; the config has, and also settings that no LoRA file can carry.
"""

import json
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from flux_lora.adapter.dialects.alpha import PeftScales, peft_scales
from flux_lora.adapter.dialects.keys import PEFT_ENDS, KeyFormat, other_dialect_fix, refuse_modules, to_keys
from flux_lora.adapter.dialects.module_names import is_bfl
from flux_lora.adapter.dialects.module_tensors import with_scale
from flux_lora.adapter.dialects.read import read_state_dict, refuse_keys
from flux_lora.adapter.header import printable
from flux_lora.adapter.layer_types import RESIZE_WITH_BASE, Adapter, DoRA, LayerDelta, LoRA
from flux_lora.errors import AdapterFileError

KEY_FORMAT = KeyFormat(
    dialect="peft",
    prefix="base_model.model.",
    ends=PEFT_ENDS,
    alpha=False,
    layer_types=("LoRA", "DoRA"),
    flux2=True,
    flux3=True,
)
CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PEFT_TYPES = ("LORA", "LOHA", "LOKR")
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
"""Fields of a config that change the model otherwise than by adding to a weight."""
LONGEST_VALUE = 60
"""Characters of a field that a message repeats."""
INITS_THAT_CHANGE_BASE = re.compile(r"pissa.*|olora|loftq|corda", re.IGNORECASE)
"""init_lora_weights that also change the base's weights; the LoRA alone is then not the difference."""


def to_peft(adapter: Adapter, dtype: torch.dtype) -> dict[str, Tensor]:
    """The tensors of adapter_model.safetensors, with the scale folded into `up`; a magnitude is O there."""
    per_input = [name for name, delta in adapter.deltas.items() if isinstance(delta, DoRA) and delta.per_input]
    refuse_modules(
        KEY_FORMAT.dialect,
        per_input,
        "no DoRA by inputs; one is on",
        fix=RESIZE_WITH_BASE if any(is_bfl(name) for name in per_input) else other_dialect_fix("lycoris"),
    )
    tensors = to_keys(adapter, KEY_FORMAT, dtype)
    return {key: tensor.reshape(-1) if key.endswith("_vector") else tensor for key, tensor in tensors.items()}


def peft_config(adapter: Adapter, base: str = "") -> str:
    """adapter_config.json for those tensors: alpha is the rank, and only fields that every peft knows."""
    layers = {name: _layer(delta) for name, delta in adapter.deltas.items()}
    rank = max((layer.rank for layer in layers.values()), default=1)
    # a regular expression, because a plain list would match by the ends of names: proj_out, everywhere
    other_ranks = {re.escape(name): layer.rank for name, layer in layers.items() if layer.rank != rank}
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
        "rank_pattern": {f"^{name}": value for name, value in other_ranks.items()},
        "alpha_pattern": {f"^{name}": value for name, value in other_ranks.items()},
        "use_dora": any(isinstance(delta, DoRA) for delta in adapter.deltas.values()),
    }
    return json.dumps(config, indent=2)


def from_peft(tensors: Mapping[str, Tensor], config: Mapping[str, object]) -> Adapter:
    """The adapter of a folder's tensors and its config; AdapterFileError where the config asks for more than a LoRA."""
    _refuse_unsupported(config)
    scales = peft_scales(config, CONFIG)
    content = read_state_dict(KEY_FORMAT, tensors, {})
    refuse_keys("keys for text encoders, which no such folder has,", list(content.text_encoders.deltas))
    deltas = {name: _scaled(name, delta, scales) for name, delta in content.adapter.deltas.items()}
    plain = [name for name, delta in deltas.items() if not isinstance(delta, DoRA)]
    if config.get("use_dora") is True and plain:
        raise AdapterFileError(
            f"{CONFIG} says DoRA, and {plain[0]} has no magnitude ({len(plain)} such module(s))",
            fix="save the adapter again with peft",
        )
    return Adapter(deltas)


def _refuse_unsupported(config: Mapping[str, object]) -> None:
    peft_type = str(config.get("peft_type")).upper()
    if peft_type not in PEFT_TYPES:
        raise AdapterFileError(
            f"{CONFIG} is of a {peft_type[:40]} adapter",
            fix=f"give one of {', '.join(PEFT_TYPES)}: others are not read",
        )
    unsupported = [
        f"{key}={printable(str(config[key]), LONGEST_VALUE)} ({what})"
        for key, what in REFUSED.items()
        if config.get(key)
    ]
    if config.get("bias", "none") != "none":
        unsupported.append(f"bias={str(config['bias'])[:20]} (biases)")
    init = config.get("init_lora_weights")
    if isinstance(init, str) and INITS_THAT_CHANGE_BASE.fullmatch(init):
        unsupported.append(f"init_lora_weights={init[:20]} (a base whose weights were changed too)")
    if unsupported:
        raise AdapterFileError(
            f"{CONFIG} asks for {'; '.join(unsupported)}, which no LoRA file carries",
            fix="train without it, or merge the adapter into the base with peft",
        )


def _scaled(name: str, delta: LayerDelta, scales: PeftScales) -> LayerDelta:
    """peft scales LoKr by alpha / rank even where its factors are whole."""
    rank = _layer(delta).rank if isinstance(delta, LoRA | DoRA) else 0
    return with_scale(delta, scales.scale(name, rank))


def _layer(delta: LayerDelta) -> LoRA:
    layer = delta.lora if isinstance(delta, DoRA) else delta
    assert isinstance(layer, LoRA), "other kinds were refused"
    return layer
