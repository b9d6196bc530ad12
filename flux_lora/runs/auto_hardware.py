"""hardware.auto: what a GPU can hold decides how the base is kept, before anything is loaded."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

import torch

from flux_lora.adapter.layer_types import Adapter
from flux_lora.config.choices import ComputeDtype, Device, Quantization
from flux_lora.config.compose import flat_settings
from flux_lora.config.rules import WHOLE_WEIGHTS
from flux_lora.config.schema import HardwareConfig, RunConfig
from flux_lora.errors import ConfigError
from flux_lora.runs.plan import GIB, WAYS, Plan, Planner, Way, planner_for
from flux_lora.runs.run import Feedback, Run

SMALLER = (
    {"data.resolution": "640"},
    {"data.resolution": "512"},
    {"data.resolution": "512", "adapter.rank": "16"},
    {"data.resolution": "512", "adapter.rank": "16", "adapter.targets": "attention"},
)
"""What else can be given up, the least of it first: it changes what is trained, so a person has to ask for it."""


def open_run(config: RunConfig, feedback: Feedback) -> Run:
    """A run whose hardware is decided. Raises ConfigError as `settled` does."""
    return Run(settled(config, feedback), feedback)


def settled(config: RunConfig, feedback: Feedback) -> RunConfig:
    """The same recipe with hardware.auto answered, and said; one without it as it is.

    Raises ConfigError where no way fits, with what would.
    """
    return _settled(config, feedback, fastest)


def settled_to_render(config: RunConfig, feedback: Feedback, adapter: Adapter | None) -> RunConfig:
    """The same where images of data.resolution are all that is made, with an adapter in the base.

    Raises ConfigError where no way fits.
    """

    return _settled(config, feedback, partial(_fastest_to_render, adapter=adapter))


def _fastest_to_render(planner: Planner, card: float, *, adapter: Adapter | None) -> Plan:
    layers = adapter.layers if adapter else {}
    adapted = sum(layer.down.numel() + layer.up.numel() for layer in layers.values())
    fixed = any(re.fullmatch(planner.family.modulation, name) for name in layers)
    ways = [way for way in _ways_asked_for(planner) if not (fixed and way.offload_modulation)]
    at_once = dict.fromkeys(replace(way, gradient_checkpointing=False) for way in ways)  # there is no backward pass
    plans = [planner.rendering(way, adapted) for way in at_once]
    found = next((plan for plan in plans if plan.fits(card)), None)
    if found:
        return found
    smallest, side = min(plans, key=lambda plan: plan.peak.bytes), planner.config.data.resolution
    raise ConfigError(
        f"images of {side} x {side} pixels take {smallest.peak.bytes / GIB:.1f} GB at least ({smallest.way}), and "
        f"{card:.0f} GB are here",
        fix="render smaller images (width=512 height=512), or on the CPU (hardware.device=cpu)",
    )


def _settled(config: RunConfig, feedback: Feedback, choose: Callable[[Planner, float], Plan]) -> RunConfig:
    hardware = config.hardware
    if not hardware.auto:
        return config
    card = card_gib(hardware)
    if not card:
        return replace(config, hardware=replace(hardware, auto=False, dtype=ComputeDtype.fp32))
    planner = planner_of(config)
    plan = choose(planner, card)
    feedback.say(f"hardware: {in_words(plan, card)}")
    return replace(
        config,
        hardware=replace(
            planner.config.hardware,
            auto=False,
            quantize=plan.way.quantize,
            offload_modulation=plan.way.offload_modulation,
            gradient_checkpointing=plan.way.gradient_checkpointing,
            encode_text_on_cpu=hardware.encode_text_on_cpu or plan.encodes_text_on_cpu(card),
        ),
    )


def planner_of(config: RunConfig) -> Planner:
    """What plans this recipe on a GPU, in the dtype that it would compute in there."""
    on_gpu = Run(replace(config, hardware=replace(config.hardware, dtype=_gpu_dtype())))
    return planner_for(on_gpu.config, on_gpu.family, on_gpu.source)


def fastest(planner: Planner, card: float) -> Plan:
    """The first way that fits a card of so many GiB. Raises ConfigError where none does, with what would."""
    plan = _fastest(planner, card)
    if plan is None:
        raise _too_large(planner, card)
    return plan


def possible_ways(planner: Planner) -> list[Way]:
    """The fastest first, of those that can train and that keep what is asked for."""
    asked_for = _ways_asked_for(planner)
    return [way for way in ways_that_train(planner) if way in asked_for]


def ways_that_train(planner: Planner) -> list[Way]:
    """The fastest first, whatever hardware says. What is trained cannot wait in host memory, and some kinds of adapter
    take no 4 bits."""
    ways = [way for way in WAYS if not (way.offload_modulation and planner.trains_modulation)]
    whole = planner.config.adapter.kind in WHOLE_WEIGHTS
    return [way for way in ways if not (whole and way.quantize is Quantization.nf4)]


def _ways_asked_for(planner: Planner) -> list[Way]:
    """What hardware says beside auto is kept: a quantisation, an offload, checkpointing."""
    asked = planner.config.hardware
    return [
        way
        for way in WAYS
        if asked.quantize in (Quantization.none, way.quantize)
        and way.offload_modulation >= asked.offload_modulation
        and way.gradient_checkpointing >= asked.gradient_checkpointing
    ]


def _fastest(planner: Planner, card: float) -> Plan | None:
    return next((plan for plan in map(planner.plan, possible_ways(planner)) if plan.fits(card)), None)


def card_gib(hardware: HardwareConfig) -> float:
    """Memory of the GPU that is asked for or found, 0 for none."""
    if hardware.gpu_gb:
        return hardware.gpu_gb
    if hardware.device is Device.cpu or not torch.cuda.is_available():
        return 0.0
    return torch.cuda.get_device_properties(0).total_memory / GIB


def in_words(plan: Plan, card: float) -> str:
    """What the plan is, and how much of the card it fills."""
    peak = plan.peak
    encoders = "; text encoders stay in host memory" if plan.encodes_text_on_cpu(card) else ""
    return f"{plan.way}, at most {peak.bytes / GIB:.1f} of {card:.0f} GB ({peak.name}){encoders}"


def _gpu_dtype() -> ComputeDtype:
    """bf16, unless the card that is here cannot."""
    lacks = torch.cuda.is_available() and not torch.cuda.is_bf16_supported(including_emulation=False)
    return ComputeDtype.fp32 if lacks else ComputeDtype.bf16


def _too_large(planner: Planner, card: float) -> ConfigError:
    config, smallest = planner.config, planner.plan(possible_ways(planner)[-1])
    problem = (
        f"{config.model.name} at {largest_side(config)} x {largest_side(config)} and rank {config.adapter.rank} "
        f"takes {smallest.peak.bytes / GIB:.1f} GB at least ({smallest.way}), and {card:.0f} GB are here"
    )
    for words, smaller in smaller_recipes(config):
        if _fastest(planner_of(smaller), card):
            return ConfigError(problem, fix="add " + " ".join(words))
    return ConfigError(problem, fix="take a smaller base, or a larger card")


def largest_side(config: RunConfig) -> int:
    """Of the squares that buckets have the area of, in pixels."""
    return max(config.data.resolution, *config.data.more_resolutions, 0)


def smaller_recipes(config: RunConfig) -> Iterator[tuple[tuple[str, ...], RunConfig]]:
    """Recipes with something made smaller, what costs least first, and the words that make them so."""
    for changes in SMALLER:
        smaller = _changed(config, changes)
        now, before = flat_settings(smaller), flat_settings(config)
        words = [f"{key}={value}" for key, value in changes.items() if now[key] != before[key]]
        if words:
            yield (*words, *(["data.more_resolutions=[]"] if config.data.more_resolutions else [])), smaller


def _changed(config: RunConfig, changes: Mapping[str, str]) -> RunConfig:
    """The recipe with some numbers made smaller, as the command line would; at one size alone."""
    side = min(config.data.resolution, int(changes.get("data.resolution", config.data.resolution)))
    rank = min(config.adapter.rank, int(changes.get("adapter.rank", config.adapter.rank)))
    targets = type(config.adapter.targets)(changes.get("adapter.targets", config.adapter.targets))
    return replace(
        config,
        data=replace(config.data, resolution=side, more_resolutions=()),
        adapter=replace(config.adapter, rank=rank, alpha=float(rank), targets=targets),
    )
