"""The tensors of one change, whole or not."""

import pytest
import torch
from torch import Tensor

from flux_lora.adapter.dialects.module_tensors import (
    delta_from_tensors,
    fold_scale,
    from_checkpoint,
    tensors_of_delta,
    with_scale,
)
from flux_lora.adapter.layer_types import OFT, DoRA, LayerDelta, LoHa, LoKr, LoRA, delta_of
from flux_lora.errors import AdapterFileError

LAYER = LoRA(torch.randn(2, 6), torch.randn(4, 2), -3.0)
CHANGES: list[LayerDelta] = [
    LAYER,
    DoRA(LAYER, torch.rand(4)),
    DoRA(LAYER, torch.rand(6), per_input=True),
    LoHa(torch.randn(4, 2), torch.randn(2, 6), torch.randn(4, 2), torch.randn(2, 6), 0.5),
    LoKr(torch.randn(2, 2), None, None, None, torch.randn(2, 1), torch.randn(1, 3), 0.5),
    LoKr(None, torch.randn(2, 1), torch.randn(1, 2), torch.randn(2, 3), None, None, 0.5),
    LoKr(torch.randn(2, 2), None, None, torch.randn(2, 3), None, None, 1.0),
    OFT(torch.randn(2, 2, 2), torch.rand(4)),
]
WEIGHT = torch.randn(4, 6)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_comes_back_from_its_parts(change: LayerDelta):
    after = delta_from_tensors("m", tensors_of_delta(change))
    assert type(after) is type(change)
    torch.testing.assert_close(delta_of(after, WEIGHT), delta_of(change, WEIGHT))


@pytest.mark.parametrize("change", CHANGES)
def test_folding_the_scale_changes_nothing_but_where_it_stands(change: LayerDelta):
    after = fold_scale(change)
    torch.testing.assert_close(delta_of(after, WEIGHT), delta_of(change, WEIGHT))
    scaled = after.lora if isinstance(after, DoRA) else after
    assert isinstance(scaled, OFT) or scaled.scale == 1.0


@pytest.mark.parametrize("change", [change for change in CHANGES if isinstance(change, LoRA | LoHa | LoKr)])
def test_a_scale_told_elsewhere_takes_the_place_of_the_one_there_was(change: LayerDelta):
    once = delta_of(with_scale(change, 1.0))
    torch.testing.assert_close(delta_of(with_scale(change, 2.5)), 2.5 * once)


ONES = torch.ones(2, 2)
BAD: list[tuple[dict[str, Tensor], str]] = [
    ({"down": ONES}, "one-sided or mixed: it has down"),
    ({"alpha": torch.tensor(1.0)}, "it has an alpha only"),
    ({"down": ONES, "up": ONES, "lokr_w1": ONES}, "one-sided or mixed"),
    ({"down": ONES, "up": torch.ones(2, 3)}, "impossible shape: float32 .2, 2., float32 .2, 3."),
    ({"down": torch.ones(0, 2), "up": torch.ones(2, 0)}, "impossible shape"),
    ({"down": ONES.int(), "up": ONES.int()}, "impossible shape: int32"),
    ({"down": torch.ones(2, 2, 1, 1), "up": ONES}, "impossible shape"),
    ({"down": ONES, "up": ONES, "magnitude": torch.ones(3)}, "impossible shape"),
    ({"down": ONES, "up": ONES, "alpha": torch.ones(2)}, "alpha that is no number"),
    ({"lokr_w1": ONES, "magnitude": ONES}, "a DoRA.s magnitude, and no LoRA that it belongs to"),
    ({"lokr_w1": ONES}, "a LoKr factor that is neither whole nor a product"),
    ({"lokr_w1": ONES, "lokr_w2": ONES, "lokr_w2_a": ONES, "lokr_w2_b": ONES}, "neither whole nor a product"),
    ({"lokr_w1": ONES, "lokr_w2_a": ONES, "lokr_w2_b": torch.ones(3, 2)}, "impossible shape"),
    ({"hada_w1_a": ONES, "hada_w1_b": ONES, "hada_w2_a": ONES}, "one-sided or mixed"),
    ({f"hada_w{n}_{side}": torch.ones(2, n) for n in (1, 2) for side in "ab"}, "impossible shape"),
    ({"oft_blocks": torch.ones(2, 2, 3)}, "impossible shape"),
    ({"oft_blocks": torch.ones(2, 2, 2), "rescale": torch.ones(3)}, "impossible shape"),
]


@pytest.mark.parametrize(("parts", "what"), BAD)
def test_tensors_that_are_no_change_are_named(parts: dict[str, Tensor], what: str):
    with pytest.raises(AdapterFileError, match=rf"some\.module.*{what}"):
        delta_from_tensors("some.module", parts)


def test_an_alpha_does_not_count_where_both_factors_of_a_lokr_are_whole():
    """LyCORIS writes 10^10 there, which is infinite in fp16."""
    parts = {"lokr_w1": torch.ones(2, 2), "lokr_w2": torch.ones(3, 3), "alpha": torch.tensor(float("inf"))}
    assert delta_of(delta_from_tensors("m", parts)).isfinite().all()


def test_tensors_that_are_no_checkpoint_are_refused_by_name():
    with pytest.raises(AdapterFileError, match="proj_out has tensors of impossible shape"):
        from_checkpoint({f"proj_out.{part}": torch.ones(2) for part in ("down", "up", "alpha")})
