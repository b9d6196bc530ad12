"""Put an adapter into a transformer, and read it back. The only importer of peft.

The transformer holds the adapter in its own dtype. Where that is less than float32, the
float32 Adapter that came in stays the truth, and the transformer's copy is rounded.
"""

import re
from collections.abc import Mapping, Sequence

import torch
from diffusers.utils.peft_utils import recurse_remove_peft_layers
from peft import inject_adapter_in_model
from torch import Generator, Tensor, nn

from flux_lora.adapter.fresh import fresh_delta, with_alpha
from flux_lora.adapter.layer_types import (
    Adapter,
    DoRA,
    LayerDelta,
    at_strength,
    map_tensors,
    sides_of,
    tensors_in,
)
from flux_lora.adapter.peft_modules import (
    PEFT_NAME,
    PeftModule,
    held_delta,
    make_room,
    peft_config,
    peft_config_type,
    rank_of,
    row_squares,
    set_alpha,
    set_module_strength,
    strength_of,
    structure_of,
)
from flux_lora.adapter.trainable import TrainableLayer
from flux_lora.config.choices import AdapterKind
from flux_lora.errors import AdapterFileError
from flux_lora.models.family import PromptEmbeds, Velocity

OURS = re.compile(r"\.(lora|lokr|hada)_")
"""In the names of the adapter's own parameters."""
COMPUTED_IN = (torch.float32, torch.bfloat16, torch.float16)


def attach(
    transformer: nn.Module,
    layers: Sequence[str] | Mapping[str, int],
    *,
    rank: int,
    alpha: float,
    generator: Generator,
    kind: AdapterKind = AdapterKind.lora,
) -> Adapter:
    """Give each of these linear layers (by module name) a new delta, and return its float32 start.

    `layers` may have a rank for each, which is `rank` otherwise; alpha / rank is the scale of all. The tensors are
    drawn from the generator, but for those at 0 that leave the transformer's output as it was.
    """
    detach(transformer)
    linears = linear_layers(transformer)
    ranks = layers if isinstance(layers, Mapping) else dict.fromkeys(layers, rank)
    adapter = Adapter(
        {name: _fresh(linears[name], kind, own, alpha * own / rank, generator) for name, own in ranks.items()}
    )
    load_into(transformer, adapter)
    return adapter


def load_into(transformer: nn.Module, adapter: Adapter) -> None:
    """Make the transformer act as its base plus this adapter, at strength 1.

    AdapterFileError where it is of another base, or of a type that is not computed with here.
    """
    check_fit(transformer, adapter)
    if _structure(transformer) != {name: structure_of(delta) for name, delta in adapter.deltas.items()}:
        detach(transformer)
        _inject(transformer, adapter)
    for name, module in adapter_modules(transformer).items():
        delta = adapter.deltas[name]
        set_alpha(module, delta)
        with torch.no_grad():
            for held, value in zip(tensors_in(held_delta(module)), tensors_in(delta), strict=True):
                held.copy_(value)


def adapter_of(transformer: nn.Module) -> Adapter:
    """What the transformer holds, as float32 copies on the CPU, with the strength it has now; a DoRA's is 1."""
    return Adapter({name: _current(module) for name, module in adapter_modules(transformer).items()})


def trainable_layers(transformer: nn.Module) -> dict[str, TrainableLayer]:
    """What is trained, by layer name."""
    return {name: TrainableLayer(held_delta(module)) for name, module in adapter_modules(transformer).items()}


def linear_layers(transformer: nn.Module) -> dict[str, nn.Linear]:
    """The transformer's linear layers by module name."""
    return {name: module for name, module in transformer.named_modules() if isinstance(module, nn.Linear)}


def adapter_modules(transformer: nn.Module) -> dict[str, PeftModule]:
    """peft's modules of the adapter, by the name of the layer they wrap."""
    return {
        name: module
        for name, module in transformer.named_modules()
        if isinstance(module, PeftModule) and PEFT_NAME in module.r
    }


def set_strength(transformer: nn.Module, value: float) -> None:
    """How much of the adapter acts: 1 as trained, 0 the base to the last bit."""
    for module in adapter_modules(transformer).values():
        set_module_strength(module, value)


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
    if adapter_modules(transformer):
        recurse_remove_peft_layers(transformer)
        for mark in ("peft_config", "_hf_peft_config_loaded"):
            vars(transformer).pop(mark, None)


def _fresh(linear: nn.Linear, kind: AdapterKind, rank: int, alpha: float, generator: Generator) -> LayerDelta:
    delta = with_alpha(fresh_delta(kind, (linear.out_features, linear.in_features), rank, generator), alpha)
    return DoRA(delta.lora, row_squares(linear).sqrt()) if isinstance(delta, DoRA) else delta


def check_fit(transformer: nn.Module, adapter: Adapter) -> None:
    """Raises AdapterFileError where the transformer has no such layer, or one of other sides; weights are not read."""
    modules = dict(transformer.named_modules())
    for name, delta in adapter.deltas.items():
        module = modules.get(name)
        has = (module.out_features, module.in_features) if isinstance(module, nn.Linear | PeftModule) else None
        wants = _sides(delta)
        if has != wants:
            found = "has no such layer" if has is None else f"has {has[0]} x {has[1]} there"
            raise AdapterFileError(
                f"the adapter changes {name} ({wants[0]} x {wants[1]}), but this base {found}",
                fix="use the base that the adapter was trained on",
            )


def _sides(delta: LayerDelta) -> tuple[int, int]:
    """Outputs and inputs; AdapterFileError for what cannot be put into a model."""
    rank_of(delta)
    sides = sides_of(delta)
    assert sides is not None, "only an OFT does not know its sides"
    return sides


def _inject(transformer: nn.Module, adapter: Adapter) -> None:
    """peft draws starting values from the global generator; it is put back, and the values are not used."""
    dtype = compute_dtype(transformer)
    by_config: dict[type, dict[str, LayerDelta]] = {}
    for name, delta in adapter.deltas.items():
        by_config.setdefault(peft_config_type(delta), {})[name] = delta
    for deltas in by_config.values():
        vars(transformer).pop("peft_config", None)  # of the types before, which peft would warn of
        with torch.random.fork_rng(devices=[]):
            inject_adapter_in_model(peft_config(deltas), transformer, adapter_name=PEFT_NAME)
    modules, deltas = adapter_modules(transformer), adapter.deltas
    for name in modules.keys() & deltas.keys():
        make_room(modules[name], deltas[name], dtype)
    odd = sorted(modules.keys() ^ deltas.keys())
    if odd:
        raise AdapterFileError(
            f"peft did not take {len(odd)} of {len(deltas)} layers as they are, first {odd[0]}",
            fix="install the tested peft (0.21): other versions match names differently",
        )


def compute_dtype(transformer: nn.Module) -> torch.dtype:
    """What the base computes in: that of its parameters that are not quantised (8 bits and less are storage)."""
    base = (each for name, each in transformer.named_parameters() if not OURS.search(name))
    return next(each.dtype for each in base if each.dtype in COMPUTED_IN)


def _structure(transformer: nn.Module) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {name: structure_of(held_delta(module)) for name, module in adapter_modules(transformer).items()}


def _current(module: PeftModule) -> LayerDelta:
    """float32 copies on the CPU."""
    held = at_strength(held_delta(module), strength_of(module))
    return map_tensors(held, lambda tensor: tensor.detach().to(device="cpu", dtype=torch.float32, copy=True))
