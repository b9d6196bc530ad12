"""Where and in what a run computes."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from flux_lora.config.choices import ComputeDtype, Device
from flux_lora.config.schema import HardwareConfig
from flux_lora.errors import ConfigError
from flux_lora.models.counting import bytes_of
from flux_lora.models.family import Placement

IN_USE = 1.5 * 2**30
"""Bytes that a model may take beside its weights while it embeds a batch of images: DINOv2-B takes a third of it."""
DTYPES = {ComputeDtype.fp32: torch.float32, ComputeDtype.bf16: torch.bfloat16}


def placement_of(hardware: HardwareConfig) -> Placement:
    """The machine that is asked for, if it is here; the libraries' own progress bars are put away."""
    from diffusers.utils import logging as diffusers_logging  # here, so that `check` starts without diffusers
    from transformers.utils import logging as transformers_logging

    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    has_gpu = torch.cuda.is_available()
    if hardware.device is Device.cuda and not has_gpu:
        raise ConfigError(
            "hardware.device is cuda, and torch sees no GPU here",
            fix="add hardware=cpu (enough for model=mini), or install torch with CUDA",
        )
    if hardware.threads:
        torch.set_num_threads(hardware.threads)
    on_gpu = has_gpu and hardware.device is not Device.cpu
    if on_gpu and hardware.dtype is ComputeDtype.bf16 and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise ConfigError(
            f"hardware.dtype is bf16, and {torch.cuda.get_device_name()} does not compute in it",
            fix="set hardware.dtype=fp32 (twice the memory); bf16 needs an Ampere card (RTX 30) or newer",
        )
    return Placement(
        torch.device("cuda" if on_gpu else "cpu"),
        DTYPES[hardware.dtype],
        quantize=hardware.quantize,
        offload_modulation=hardware.offload_modulation,
    )


@contextmanager
def visiting(model: nn.Module, device: torch.device) -> Iterator[torch.device]:
    """The model is on the device for as long as it is used, and on the host for the rest: a card that renders has no
    room for those that judge what is rendered. Yields where it is: the host, if the card has no room now either."""
    place = device if has_room(device, bytes_of(model)) else torch.device("cpu")
    model.to(place)
    try:
        yield place
    finally:
        model.to("cpu")


def has_room(device: torch.device, weights: int) -> bool:
    """Whether a GPU has memory for so many bytes of weights, and for using them."""
    if device.type != "cuda":
        return True
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    return free > weights + IN_USE
