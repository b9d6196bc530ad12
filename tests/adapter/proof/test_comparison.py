"""The distance of two changes is that of their whole matrices, without building them."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Generator

from flux_lora.adapter.layer_types import OFT, DoRA, LayerDelta, LoHa, LoKr, LoRA, delta_of, map_tensors
from flux_lora.adapter.proof.loader_check import changes_nothing, deviation, explain_deviation


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=Generator().manual_seed(sum(shape)))


LAYER = LoRA(drawn(2, 6), drawn(8, 2), 3.0)
INDEPENDENT: dict[str, LayerDelta] = {
    "LoRA": LAYER,
    "LoKr": LoKr(drawn(2, 2), None, None, drawn(4, 3), None, None, 1.0),
    "LoKr of products": LoKr(None, drawn(2, 1), drawn(1, 2), None, drawn(4, 2), drawn(2, 3), 5.0),
    "LoHa": LoHa(drawn(8, 2), drawn(2, 6), drawn(8, 2), drawn(2, 6), 3.0),
}
DEPENDENT: dict[str, LayerDelta] = {
    "DoRA": DoRA(LAYER, drawn(8)),
    "OFT": OFT(drawn(2, 4, 4), drawn(8)),
}


@pytest.mark.parametrize("kind", INDEPENDENT)
def test_the_deviation_is_that_of_the_matrices(kind: str):
    change = INDEPENDENT[kind]
    rounded = map_tensors(change, lambda tensor: tensor.bfloat16().float() * 1.01)
    meant, taken = delta_of(change).double(), delta_of(rounded).double()
    assert math.isclose(deviation(rounded, change), ((taken - meant).norm() / meant.norm()).item(), rel_tol=1e-4)


@pytest.mark.parametrize("kind", INDEPENDENT | DEPENDENT)
def test_a_change_is_no_distance_from_itself_and_some_from_another(kind: str):
    change = (INDEPENDENT | DEPENDENT)[kind]
    assert deviation(change, change) < 1e-6
    assert deviation(map_tensors(change, lambda tensor: tensor * 1.1), change) > 0.05


@pytest.mark.parametrize("kind", INDEPENDENT | DEPENDENT)
def test_numbers_that_are_not_finite_are_infinitely_far(kind: str):
    change = (INDEPENDENT | DEPENDENT)[kind]
    assert deviation(map_tensors(change, lambda tensor: tensor * float("nan")), change) == math.inf


def test_kinds_and_shapes_that_differ_are_infinitely_far():
    narrow = LoRA(drawn(2, 5), drawn(8, 2), 3.0)
    assert deviation(narrow, LAYER) == deviation(LAYER, INDEPENDENT["LoHa"]) == math.inf
    assert deviation(DoRA(LAYER, drawn(6), per_input=True), DEPENDENT["DoRA"]) == math.inf


def test_a_layer_that_learned_nothing_has_to_be_nothing():
    nothing = replace(LAYER, up=LAYER.up * 0)
    assert changes_nothing(nothing) and not changes_nothing(LAYER)
    assert deviation(nothing, nothing) == 0.0
    assert deviation(LAYER, nothing) > 1.0


def test_what_cannot_be_explained_is_told_in_numbers():
    other = LoRA(drawn(3, 6), drawn(8, 3), 3.0)
    assert "% off what was trained" in explain_deviation("a", other, {"a": LAYER}, 1e-3)
    assert "is not what was trained" in explain_deviation("a", INDEPENDENT["LoHa"], {"a": LAYER}, 1e-3)
