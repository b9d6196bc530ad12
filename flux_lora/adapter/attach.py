"""Put an adapter into a transformer, and read it back. The only importer of peft.

The transformer holds the adapter in its own dtype. Where that is less than float32, the
float32 Adapter that came in stays the truth, and the transformer's copy is rounded.
"""

import math
import re
from collections.abc import Sequence

import torch
from diffusers.utils.peft_utils import recurse_remove_peft_layers
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Generator, Tensor, nn

from flux_lora.adapter.layer_types import Adapter, LoRA
from flux_lora.adapter.trainable import TrainableLoRA
from flux_lora.errors import AdapterFileError
from flux_lora.models.family import PromptEmbeds, Velocity

PEFT_NAME = "default"
"""What peft calls the adapter. There is only ever one."""
COMPUTED_IN = (torch.float32, torch.bfloat16, torch.float16)


def attach(transformer: nn.Module, layers: Sequence[str], *, rank: int, alpha: float, generator: Generator) -> Adapter:
    """Give each of these linear layers (by module name) a new LoRA, and return its float32 start.

    `down` is drawn from the generator, `up` is zero: the transformer's output is as before.
    """
    detach(transformer)
    linears = linear_layers(transformer)
    adapter = Adapter({name: _fresh(linears[name], rank, alpha, generator) for name in layers})
    load_into(transformer, adapter)
    return adapter


def load_into(transformer: nn.Module, adapter: Adapter) -> None:
    """Make the transformer act as its base plus this adapter, at strength 1."""
    _check_fit(transformer, adapter)
    if _ranks(transformer) != {name: layer.rank for name, layer in adapter.layers.items()}:
        detach(transformer)
        _inject(transformer, adapter)
    for name, module in lora_modules(transformer).items():
        layer = adapter.layers[name]
        module.lora_alpha[PEFT_NAME] = layer.alpha
        module.set_scale(PEFT_NAME, 1.0)
        trainable = _trainable(module)
        with torch.no_grad():
            trainable.down.copy_(layer.down)
            trainable.up.copy_(layer.up)


def adapter_of(transformer: nn.Module) -> Adapter:
    """What the transformer holds, as float32 copies on the CPU, with the strength it has now."""
    return Adapter({name: _current(module) for name, module in lora_modules(transformer).items()})


def trainable_layers(transformer: nn.Module) -> dict[str, TrainableLoRA]:
    """What is trained, by layer name."""
    return {name: _trainable(module) for name, module in lora_modules(transformer).items()}


def linear_layers(transformer: nn.Module) -> dict[str, nn.Linear]:
    """The transformer's linear layers by module name."""
    return {name: module for name, module in transformer.named_modules() if isinstance(module, nn.Linear)}


def lora_modules(transformer: nn.Module) -> dict[str, LoraLayer]:
    """peft's modules of the adapter, by the name of the layer they wrap."""
    return {
        name: module
        for name, module in transformer.named_modules()
        if isinstance(module, LoraLayer) and PEFT_NAME in module.lora_A
    }


def set_strength(transformer: nn.Module, value: float) -> None:
    """How much of the adapter acts: 1 as trained, 0 the base."""
    for module in lora_modules(transformer).values():
        module.set_scale(PEFT_NAME, value)


def without_adapter(transformer: nn.Module, predict: Velocity) -> Velocity:
    """What `predict` answers when the adapter in its transformer is at strength 0; at 1 before and after."""

    def base(
        noisy: Tensor, sigma: Tensor, prompt_embeds: PromptEmbeds, /, *, references: Sequence[Tensor] = ()
    ) -> Tensor:
        set_strength(transformer, 0.0)
        try:
            return predict(noisy, sigma, prompt_embeds, references=references)
        finally:
            set_strength(transformer, 1.0)

    return base


def detach(transformer: nn.Module) -> None:
    """Take the adapter out; the base is left as it was."""
    if lora_modules(transformer):
        recurse_remove_peft_layers(transformer)
        for mark in ("peft_config", "_hf_peft_config_loaded"):
            vars(transformer).pop(mark, None)


def _fresh(linear: nn.Linear, rank: int, alpha: float, generator: Generator) -> LoRA:
    """peft's own start (Kaiming with a = sqrt 5, so uniform within 1 / sqrt inputs), from our generator."""
    bound = 1 / math.sqrt(linear.in_features)
    down = torch.empty(rank, linear.in_features).uniform_(-bound, bound, generator=generator)
    return LoRA(down=down, up=torch.zeros(linear.out_features, rank), alpha=alpha)


def _check_fit(transformer: nn.Module, adapter: Adapter) -> None:
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


def _inject(transformer: nn.Module, adapter: Adapter) -> None:
    """peft draws starting values from the global generator; it is put back, and the values are not used."""
    ranks = {name: layer.rank for name, layer in adapter.layers.items()}
    lora = LoraConfig(
        r=max(ranks.values()),
        target_modules="|".join(re.escape(name) for name in ranks),
        rank_pattern={f"^{re.escape(name)}": rank for name, rank in ranks.items()},
    )
    with torch.random.fork_rng(devices=[]):
        inject_adapter_in_model(lora, transformer, adapter_name=PEFT_NAME)
    dtype = compute_dtype(transformer)
    for module in lora_modules(transformer).values():
        for parameter in _trainable(module).parameters:
            parameter.data = parameter.data.to(dtype)  # some versions of peft raise adapters to float32
            parameter.requires_grad_(True)
    if _ranks(transformer) != ranks:
        odd = sorted(set(ranks.items()) ^ set(_ranks(transformer).items()))
        raise AdapterFileError(
            f"peft did not take {len(odd)} of {len(ranks)} layers as they are, first {odd[0][0]}",
            fix="install the tested peft (0.21): other versions match names differently",
        )


def compute_dtype(transformer: nn.Module) -> torch.dtype:
    """What the base computes in: that of its parameters that are not quantised (8 bits and less are storage)."""
    base = (each for name, each in transformer.named_parameters() if "lora_" not in name)
    return next(each.dtype for each in base if each.dtype in COMPUTED_IN)


def _ranks(transformer: nn.Module) -> dict[str, int]:
    return {name: module.r[PEFT_NAME] for name, module in lora_modules(transformer).items()}


def _trainable(module: LoraLayer) -> TrainableLoRA:
    down, up = module.lora_A[PEFT_NAME].weight, module.lora_B[PEFT_NAME].weight
    assert isinstance(down, nn.Parameter) and isinstance(up, nn.Parameter), "peft's LoRA is two linear layers"
    return TrainableLoRA(down=down, up=up, alpha=float(module.lora_alpha[PEFT_NAME]))


def _current(module: LoraLayer) -> LoRA:
    """With the strength it has now in alpha."""
    trainable = _trainable(module)
    return LoRA(_copy(trainable.down), _copy(trainable.up), module.scaling[PEFT_NAME] * module.r[PEFT_NAME])


def _copy(parameter: nn.Parameter) -> Tensor:
    return parameter.detach().to(device="cpu", dtype=torch.float32, copy=True)
