"""The length of a change, told without building it, is that of the built one."""

import pytest
import torch
from torch import Generator, Tensor

from flux_lora.adapter.inspection import norm_of, without_magnitude
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
