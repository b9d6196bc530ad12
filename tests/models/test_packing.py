"""Tokens and positions, beside the pipeline's."""

import torch
from diffusers import FluxPipeline
from hypothesis import given
from hypothesis import strategies as st

from flux_lora.models.flux1.velocity import pack, positions, text_positions, unpack

even = st.integers(1, 6).map(lambda half: 2 * half)


def image(height: int, width: int) -> torch.Tensor:
    return torch.arange(2 * 16 * height * width, dtype=torch.float32).reshape(2, 16, height, width)


@given(even, even)
def test_unpack_undoes_pack(height: int, width: int):
    assert torch.equal(unpack(pack(image(height, width)), height=height, width=width), image(height, width))


@given(even, even)
def test_pack_and_unpack_equal_the_pipelines_own(height: int, width: int):
    theirs = FluxPipeline._pack_latents(image(height, width), 2, 16, height, width)  # noqa: SLF001
    assert torch.equal(pack(image(height, width)), theirs)
    back = FluxPipeline._unpack_latents(theirs, height * 8, width * 8, 8)  # noqa: SLF001
    assert torch.equal(unpack(theirs, height=height, width=width), back)


@given(even, even)
def test_positions_equal_the_pipelines_own(height: int, width: int):
    cpu = torch.device("cpu")
    theirs = FluxPipeline._prepare_latent_image_ids(2, height // 2, width // 2, cpu, torch.float32)  # noqa: SLF001
    assert torch.equal(positions(height, width, cpu), theirs)


def test_text_has_no_place_in_the_image():
    assert torch.equal(text_positions(5, torch.device("cpu")), torch.zeros(5, 3))
