"""Load an exported file back as its users will, and compare it with what was trained.

diffusers and ComfyUI are quiet about keys they do not use: the user sees a weak LoRA, or none.
So every export ends here.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from torch import Generator, Tensor, nn

from flux_lora.adapter.attach import PEFT_NAME, adapter_of, load_into, strength
from flux_lora.adapter.files import read_tensors
from flux_lora.adapter.layouts.comfyui import unknown_to_comfyui
from flux_lora.adapter.layouts.diffusers import from_diffusers, to_diffusers
from flux_lora.adapter.tensors import Adapter, distance, size
from flux_lora.errors import AdapterFileError
from flux_lora.models.family import Text
from flux_lora.models.flux1.load import load_scheduler, load_transformer
from flux_lora.models.flux1.velocity import velocity_of

DELTA_BOUND = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}
"""How far rounding to the file's dtype may move one layer's change, relative to it."""
OUTPUT_BOUND = {torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""How far two computations of one adapter may differ in the base's dtype, relative to the adapter's effect."""
LOUDEST_LOADER = "diffusers.loaders.lora_base"
EXPORT_AGAIN = "export again; if it stays, report it with this message: the file would disappoint its users"
ABSENT: Any = None
"""A part of the pipeline that loading a LoRA does without; diffusers' annotations do not foresee it."""
TEXT_TOKENS = 16
LATENT_SIDE = 16
TIME = 0.7
GUIDANCE = 3.5


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What was seen when the file was loaded by FluxPipeline.load_lora_weights into a fresh base."""

    layers: int
    unused_keys: int
    missing_layers: int
    unknown_to_comfyui: int
    delta_error: float
    """Largest relative error of one layer's change, against the trained float32 adapter."""
    delta_error_layer: str
    output_error: float
    """The transformer's answer against that of the trained adapter rounded the same way, relative to its effect."""
    output_error_fp32: float
    """The same against the trained adapter itself: what rounding to the file's dtype costs."""


def prove(
    file: Path,
    adapter: Adapter,
    *,
    base: str,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    revision: str = "",
) -> Proof:
    """Reopen the file, load it into a fresh base and compare; raises naming the layer that differs."""
    tensors = read_tensors(file)
    transformer = load_transformer(base, dtype, revision=revision)
    nn.Module.to(transformer, device)
    pipeline = FluxPipeline(
        scheduler=load_scheduler(base, revision=revision),
        vae=ABSENT,
        text_encoder=ABSENT,
        tokenizer=ABSENT,
        text_encoder_2=ABSENT,
        tokenizer_2=ABSENT,
        transformer=transformer,
    )
    with _without_the_text_encoder_warning():
        pipeline.load_lora_weights(str(file), adapter_name=PEFT_NAME)
    loaded = adapter_of(transformer)
    file_dtype = next(iter(tensors.values())).dtype
    _check_keys(tensors, loaded, adapter)
    error, layer = _check_deltas(loaded, adapter, DELTA_BOUND[file_dtype])
    answer = _answer(transformer)
    pipeline.unload_lora_weights()
    same, exact = _output_errors(transformer, answer, adapter, file_dtype)
    if not same <= OUTPUT_BOUND[dtype]:
        raise AdapterFileError(
            f"{file} answers {same:.2%} differently from the trained adapter in diffusers", fix=EXPORT_AGAIN
        )
    return Proof(
        layers=len(loaded.layers),
        unused_keys=0,
        missing_layers=0,
        unknown_to_comfyui=0,
        delta_error=error,
        delta_error_layer=layer,
        output_error=same,
        output_error_fp32=exact,
    )


def _check_keys(tensors: dict[str, Tensor], loaded: Adapter, trained: Adapter) -> None:
    """diffusers only warns of what it leaves out, so what it holds is compared with what the file has."""
    unused = sorted(set(tensors) - set(to_diffusers(loaded, torch.float32)))
    missing = sorted(set(trained.layers) - set(loaded.layers))
    lost = unknown_to_comfyui(trained.layers)
    for what, names in (
        ("diffusers does not use {} key(s) of the file", unused),
        ("diffusers did not load {} trained layer(s)", missing),
        ("ComfyUI has no name for {} layer(s)", lost),
    ):
        if names:
            raise AdapterFileError(f"{what.format(len(names))}, first {names[0]}", fix=EXPORT_AGAIN)


def _check_deltas(loaded: Adapter, trained: Adapter, bound: float) -> tuple[float, str]:
    """The largest relative error and its layer. A layer that learned nothing has to be nothing in the file too."""
    sizes = {name: size(layer) for name, layer in trained.layers.items()}
    if not all(length < float("inf") for length in sizes.values()):
        raise AdapterFileError("the adapter holds numbers that are not finite", fix="export an earlier checkpoint")
    if not any(sizes.values()):
        raise AdapterFileError("the adapter changes nothing: it has not learned yet", fix="train for more steps")
    worst = max(
        (distance(loaded.layers[name], layer) / (sizes[name] or 1.0), name) for name, layer in trained.layers.items()
    )
    if not worst[0] <= bound:
        raise AdapterFileError(
            f"{worst[1]} in the file is {worst[0]:.2%} off what was trained, more than rounding explains",
            fix=f"set export.dtype=fp32; else {EXPORT_AGAIN}",
        )
    return worst


def _output_errors(
    transformer: FluxTransformer2DModel, answer: Tensor, adapter: Adapter, file_dtype: torch.dtype
) -> tuple[float, float]:
    """How far the answer is from the adapter rounded as in the file, and from the adapter itself."""
    load_into(transformer, from_diffusers(to_diffusers(adapter, file_dtype)))
    same = _answer(transformer)
    load_into(transformer, adapter)
    exact = _answer(transformer)
    strength(transformer, 0.0)
    effect = (exact - _answer(transformer)).norm().clamp(min=torch.finfo(torch.float32).tiny)
    return ((answer - same).norm() / effect).item(), ((answer - exact).norm() / effect).item()


@torch.inference_mode()
def _answer(transformer: FluxTransformer2DModel) -> Tensor:
    """The velocity at one fixed random point, float32."""
    generator, settings = Generator().manual_seed(0), transformer.config
    noisy = torch.randn(1, settings["in_channels"] // 4, LATENT_SIDE, LATENT_SIDE, generator=generator)
    text = Text(
        t5=torch.randn(1, TEXT_TOKENS, settings["joint_attention_dim"], generator=generator),
        pooled=torch.randn(1, settings["pooled_projection_dim"], generator=generator),
    )
    place = next(transformer.parameters())
    velocity = velocity_of(transformer, guidance=GUIDANCE)
    time = torch.tensor([TIME], device=place.device)
    return velocity(noisy.to(place), time, text.to(place.device, place.dtype)).float()


@contextmanager
def _without_the_text_encoder_warning() -> Iterator[None]:
    """diffusers says that a LoRA without text encoder keys has none. That is on purpose."""
    logger = logging.getLogger(LOUDEST_LOADER)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
