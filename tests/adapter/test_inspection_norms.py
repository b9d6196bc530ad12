"""The length of a change, told without building it, is that of the built one."""

import math

import pytest
import torch
from torch import Generator, Tensor

from flux_lora.adapter.inspection import norm_of, norms_of_small, without_magnitude
from flux_lora.adapter.layer_types import OFT, DoRA, LayerDelta, LoHa, LoKr, LoRA, delta_of
from flux_lora.errors import AdapterFileError

GENERATOR = Generator().manual_seed(0)


def some(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=GENERATOR)


LORA = LoRA(some(4, 6), some(8, 4), 2.0)
CHANGES: dict[str, LayerDelta] = {
    "LoRA": LORA,
    "LoRA of a rank above its sides": LoRA(some(40, 6), some(8, 40), 2.0),
    "LoKr, one factor a product": LoKr(some(2, 3), None, None, None, some(4, 2), some(2, 5), 3.0),
    "LoKr, the other a product": LoKr(None, some(3, 2), some(2, 3), some(4, 4), None, None, 3.0),
    "LoHa of a low rank": LoHa(some(20, 3), some(3, 7), some(20, 3), some(3, 7), 2.0),
    "LoHa of more rows than are taken at once": LoHa(some(1100, 9), some(9, 7), some(1100, 9), some(9, 7), 2.0),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_length_agrees_with_the_built_change(change: LayerDelta):
    assert norm_of(change) == pytest.approx(delta_of(change).norm().item(), rel=1e-5)


def test_a_change_that_depends_on_the_weight_has_no_length_of_its_own():
    assert norm_of(DoRA(LORA, some(8))) is None
    assert norm_of(OFT(some(2, 4, 4))) is None
    assert without_magnitude(DoRA(LORA, some(8))) is LORA


def test_numbers_that_are_not_numbers_stay_so():
    broken = LoRA(some(4, 6), torch.full((8, 4), float("nan")), 2.0)
    assert norm_of(broken) != norm_of(broken)


def test_a_stranger_s_sides_do_not_fill_the_memory():
    wide = LoHa(torch.ones(10**6, 1), torch.ones(1, 10**6), torch.ones(10**6, 1), torch.ones(1, 10**6), 1.0)
    with pytest.raises(AdapterFileError, match="1000000 x 1000000"):
        norm_of(wide)
    assert norm_of(LoRA(torch.ones(1, 10**6), torch.ones(10**6, 1), 1.0)) == pytest.approx(1e6)
    assert norm_of(LoRA(torch.ones(10**6, 1), torch.ones(1, 10**6), 1e6)) == pytest.approx(1e6)


def test_norms_of_many_small_loras_are_those_of_each_alone():
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 2, 6), (4, 2, 6), (3, 1, 5), (1, 8, 1), (64, 4, 64), (2, 9, 2)]
    layers = {
        f"transformer_blocks.{number}.attn.to_q": LoRA(
            torch.randn(rank, inputs, generator=generator),
            torch.randn(outputs, rank, generator=generator),
            number - 2.0,
        )
        for number, (outputs, rank, inputs) in enumerate(shapes * 3)
    }
    found = dict(norms_of_small(layers))
    assert len(found) == 15, "one of the shapes has a higher rank, and is left to the other way"
    for name, norm in found.items():
        assert norm == pytest.approx(norm_of(layers[name]))


@pytest.mark.parametrize("number", [torch.inf, torch.nan])
def test_a_small_lora_that_is_not_finite_has_no_finite_norm(number: float):
    layer = LoRA(torch.ones(2, 3), torch.full((4, 2), number), 2.0)
    (norm,) = dict(norms_of_small({"transformer_blocks.0.attn.to_q": layer})).values()
    assert not math.isfinite(norm)
