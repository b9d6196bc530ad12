"""Put an adapter into a transformer, and read it back. The only module that knows peft.

The transformer holds the adapter in its own dtype. Where that is less than float32, the
float32 Adapter that came in stays the truth, and the transformer's copy is rounded.
"""

import math
import re
from dataclasses import dataclass

import torch
from diffusers import FluxTransformer2DModel
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from torch import Generator, Tensor, nn

from flux_lora.adapter.targets import matching_layers
from flux_lora.adapter.tensors import Adapter, LoRA
from flux_lora.config.choices import AdapterTargets
from flux_lora.errors import AdapterFileError

PEFT_NAME = "default"
"""What peft calls the adapter. There is only ever one."""


@dataclass(frozen=True)
class Pair:
    """The two parameters of one layer inside the transformer, in its dtype."""

    down: nn.Parameter  # RI
    up: nn.Parameter  # OR


def attach(
    transformer: FluxTransformer2DModel, *, rank: int, alpha: float, targets: AdapterTargets, generator: Generator
) -> Adapter:
    """Give every target layer a fresh low-rank path, and return its float32 start.

    `down` is drawn from the generator, `up` is zero: the transformer answers as before.
    """
    detach(transformer)
    linears = {name: module for name, module in transformer.named_modules() if isinstance(module, nn.Linear)}
    adapter = Adapter(
        {name: _fresh(linears[name], rank, alpha, generator) for name in matching_layers(linears, targets)}
    )
    load_into(transformer, adapter)
    return adapter


def load_into(transformer: FluxTransformer2DModel, adapter: Adapter) -> None:
    """Make the transformer act as its base plus this adapter, at strength 1."""
    _check_fit(transformer, adapter)
    if _ranks(transformer) != {name: layer.rank for name, layer in adapter.layers.items()}:
        detach(transformer)
        _inject(transformer, adapter)
    for name, module in _paths(transformer).items():
        layer = adapter.layers[name]
        module.lora_alpha[PEFT_NAME] = layer.alpha
        module.set_scale(PEFT_NAME, 1.0)
        pair = _pair(module)
        with torch.no_grad():
            pair.down.copy_(layer.down)
            pair.up.copy_(layer.up)


def adapter_of(transformer: FluxTransformer2DModel) -> Adapter:
    """What the transformer holds, as float32 copies on the CPU, with the strength it has now."""
    return Adapter({name: _layer(module) for name, module in _paths(transformer).items()})


def parameters_of(transformer: FluxTransformer2DModel) -> dict[str, Pair]:
    """The trainable parameters by layer name."""
    return {name: _pair(module) for name, module in _paths(transformer).items()}


def set_strength(transformer: FluxTransformer2DModel, value: float) -> None:
    """How much of the adapter acts: 1 as trained, 0 the base."""
    for module in _paths(transformer).values():
        module.set_scale(PEFT_NAME, value)


def detach(transformer: FluxTransformer2DModel) -> None:
    """Take the adapter out; the base is left as it was."""
    if _paths(transformer):
        transformer.unload_lora()


def _fresh(linear: nn.Linear, rank: int, alpha: float, generator: Generator) -> LoRA:
    """peft's own start (Kaiming with a = sqrt 5, so uniform within 1 / sqrt inputs), from our generator."""
    bound = 1 / math.sqrt(linear.in_features)
    down = torch.empty(rank, linear.in_features).uniform_(-bound, bound, generator=generator)
    return LoRA(down=down, up=torch.zeros(linear.out_features, rank), alpha=alpha)


def _check_fit(transformer: FluxTransformer2DModel, adapter: Adapter) -> None:
    modules = dict(transformer.named_modules())
    for name, layer in adapter.layers.items():
        module = modules.get(name)
        has = (module.out_features, module.in_features) if isinstance(module, nn.Linear | LoraLayer) else None
        wants = (layer.up.shape[0], layer.down.shape[1])
        if has != wants:
            found = "has no such layer" if has is None else f"has {has[0]} x {has[1]} there"
            raise AdapterFileError(
                f"the adapter changes {name} ({wants[0]} x {wants[1]}), but this base {found}",
                fix="use the base that the adapter was trained on",
            )


def _inject(transformer: FluxTransformer2DModel, adapter: Adapter) -> None:
    """peft draws starting values from the global generator; it is put back, and the values are not used."""
    ranks = {name: layer.rank for name, layer in adapter.layers.items()}
    lora = LoraConfig(
        r=max(ranks.values()),
        target_modules="|".join(re.escape(name) for name in ranks),
        rank_pattern={f"^{re.escape(name)}": rank for name, rank in ranks.items()},
    )
    with torch.random.fork_rng(devices=[]):
        transformer.add_adapter(lora, adapter_name=PEFT_NAME)
    for module in _paths(transformer).values():
        _in_compute_dtype(module)
    if _ranks(transformer) != ranks:
        odd = sorted(set(ranks.items()) ^ set(_ranks(transformer).items()))
        raise AdapterFileError(
            f"peft did not take {len(odd)} of {len(ranks)} layers as they are, first {odd[0][0]}",
            fix="install the tested peft (0.21): other versions match names differently",
        )


def _in_compute_dtype(module: LoraLayer) -> None:
    """Some versions of peft raise adapters to float32, which silently doubles the cost of every step."""
    base = module.get_base_layer()
    assert isinstance(base, nn.Linear), "targets are linear layers"
    for parameter in (_pair(module).down, _pair(module).up):
        if base.weight.is_floating_point():
            parameter.data = parameter.data.to(base.weight.dtype)
        parameter.requires_grad_(True)


def _paths(transformer: FluxTransformer2DModel) -> dict[str, LoraLayer]:
    return {
        name: module
        for name, module in transformer.named_modules()
        if isinstance(module, LoraLayer) and PEFT_NAME in module.lora_A
    }


def _ranks(transformer: FluxTransformer2DModel) -> dict[str, int]:
    return {name: module.r[PEFT_NAME] for name, module in _paths(transformer).items()}


def _pair(module: LoraLayer) -> Pair:
    down, up = module.lora_A[PEFT_NAME].weight, module.lora_B[PEFT_NAME].weight
    assert isinstance(down, nn.Parameter) and isinstance(up, nn.Parameter), "peft's paths are linear layers"
    return Pair(down=down, up=up)


def _layer(module: LoraLayer) -> LoRA:
    pair = _pair(module)
    return LoRA(_copy(pair.down), _copy(pair.up), module.scaling[PEFT_NAME] * module.r[PEFT_NAME])


def _copy(parameter: nn.Parameter) -> Tensor:
    return parameter.detach().to(device="cpu", dtype=torch.float32, copy=True)
