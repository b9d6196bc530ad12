"""Low-rank changes side by side, and apart again."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from flux_lora.adapter.dialects.bfl import fuse_qkv, split_delta, split_qkv, swap_delta_halves
from flux_lora.adapter.dialects.module_names import LINEAR1, QKV
from flux_lora.adapter.layer_types import OFT, DoRA, LoHa, LoKr, LoRA, delta_of
from flux_lora.errors import AdapterFileError

WIDTH = 3
INPUTS = 5


def part(share: int, rank: int, alpha: float, seed: int = 0) -> LoRA:
    generator = Generator().manual_seed(seed)
    return LoRA(
        torch.randn(rank, INPUTS, generator=generator),
        torch.randn(share * WIDTH, rank, generator=generator),
        alpha,
    )


def stacked(parts: list[LoRA | None], shares: tuple[int, ...]) -> Tensor:
    """What the native weight gains: the parts' changes above each other, zero where there is none."""
    return torch.cat(
        [
            delta_of(layer) if layer is not None else torch.zeros(share * WIDTH, INPUTS)
            for layer, share in zip(parts, shares, strict=True)
        ]
    )


@st.composite
def some_parts(draw: st.DrawFn) -> tuple[list[LoRA | None], tuple[int, ...]]:
    shares = draw(st.sampled_from([QKV, LINEAR1]))
    settings_of = st.none() | st.tuples(st.integers(1, 4), st.sampled_from([-1.0, 0.0, 0.5, 1.0, 4.0]))
    drawn = draw(st.lists(settings_of, min_size=len(shares), max_size=len(shares)).filter(any))
    return [
        None if each is None else part(share, *each, seed=seed)
        for seed, (each, share) in enumerate(zip(drawn, shares, strict=True))
    ], shares


@settings(max_examples=60, deadline=None)
@given(some_parts())
def test_any_parts_side_by_side_change_the_native_weight_as_they_do_alone(
    drawn: tuple[list[LoRA | None], tuple[int, ...]],
):
    parts, shares = drawn
    torch.testing.assert_close(delta_of(fuse_qkv("m", parts, shares)), stacked(parts, shares))


@settings(max_examples=60, deadline=None)
@given(some_parts())
def test_parts_come_back_with_their_own_change(drawn: tuple[list[LoRA | None], tuple[int, ...]]):
    parts, shares = drawn
    after = split_qkv("m", fuse_qkv("m", parts, shares), shares)
    torch.testing.assert_close(stacked(list(after), shares), stacked(parts, shares))
    assume(any(layer is not None and layer.alpha for layer in parts))
    assert sum(layer.rank for layer in after if layer) <= sum(layer.rank for layer in parts if layer)


@pytest.mark.parametrize("shares", [QKV, LINEAR1])
def test_alike_parts_keep_their_numbers_and_the_alpha_grows_with_the_rank(shares: tuple[int, ...]):
    parts = [part(share, 2, 3.0, seed) for seed, share in enumerate(shares)]
    whole = fuse_qkv("m", parts, shares)
    assert whole.rank == 2 * len(shares) and whole.alpha == 3.0 * len(shares)
    for before, after in zip(parts, split_qkv("m", whole, shares), strict=True):
        assert after is not None and after.alpha == before.alpha
        assert torch.equal(after.down, before.down) and torch.equal(after.up, before.up)


def test_unlike_parts_get_an_alpha_that_is_their_rank():
    whole = fuse_qkv("m", [part(1, 2, 3.0), None, part(1, 3, 1.0)], QKV)
    assert whole.rank == whole.alpha == 5


def test_a_change_trained_on_the_whole_matrix_is_shared_by_its_parts():
    whole = part(7, 4, 2.0)
    parts = split_qkv("m", whole, LINEAR1)
    assert all(layer is not None and layer.rank == 4 and torch.equal(layer.down, whole.down) for layer in parts)
    torch.testing.assert_close(stacked(list(parts), LINEAR1), delta_of(whole))


def test_a_change_that_is_nothing_yet_keeps_all_its_parts():
    parts = split_qkv("m", LoRA(torch.ones(2, INPUTS), torch.zeros(9, 2), 2.0), QKV)
    assert [layer is not None and layer.rank for layer in parts] == [2, 2, 2]


def test_loha_is_taken_apart_exactly():
    generator = Generator().manual_seed(0)
    above = [torch.randn(9, 2, generator=generator) for _ in range(2)]
    below = [torch.randn(2, INPUTS, generator=generator) for _ in range(2)]
    whole = LoHa(above[0], below[0], above[1], below[1], 3.0)
    parts = split_delta("m", whole, QKV)
    assert parts is not None
    torch.testing.assert_close(torch.cat([delta_of(each) for each in parts if each]), delta_of(whole))


def test_dora_by_outputs_is_taken_apart_exactly_and_by_inputs_not_at_all():
    weight = torch.randn(9, INPUTS, generator=Generator().manual_seed(3))
    whole = DoRA(part(3, 2, 3.0), torch.rand(9, generator=Generator().manual_seed(4)))
    parts = split_delta("m", whole, QKV)
    assert parts is not None
    after = [delta_of(each, rows) for each, rows in zip(parts, weight.split(3), strict=True) if each]
    torch.testing.assert_close(torch.cat(after), delta_of(whole, weight))
    assert split_delta("m", DoRA(part(3, 2, 3.0), torch.rand(INPUTS), per_input=True), QKV) is None
    assert split_delta("m", OFT(torch.zeros(3, 3, 3)), QKV) is None


@pytest.mark.parametrize(
    "change",
    [
        part(2, 2, 3.0),
        DoRA(part(2, 2, 3.0), torch.rand(6)),
        DoRA(part(2, 2, 3.0), torch.rand(INPUTS), per_input=True),
        LoHa(torch.randn(6, 2), torch.randn(2, 5), torch.randn(6, 2), torch.randn(2, 5), 1.0),
        LoKr(torch.randn(2, 1), None, None, None, torch.randn(3, 2), torch.randn(2, 5), 1.0),
        LoKr(None, torch.randn(2, 3), torch.randn(3, 1), torch.randn(3, 5), None, None, 1.0),
        OFT(torch.randn(2, 3, 3), rescale=torch.rand(6)),
    ],
)
def test_the_halves_of_any_change_are_exchanged(change):
    weight = torch.randn(6, INPUTS, generator=Generator().manual_seed(1))

    def turn(tensor: Tensor) -> Tensor:
        return tensor.roll(3, dims=0)

    torch.testing.assert_close(delta_of(swap_delta_halves("m", change), turn(weight)), turn(delta_of(change, weight)))


@pytest.mark.parametrize(
    "parts",
    [
        [part(1, 2, 1.0), part(2, 2, 1.0), part(1, 2, 1.0)],
        [part(1, 2, 1.0), None, LoRA(torch.ones(2, INPUTS + 1), torch.ones(WIDTH, 2), 1.0)],
    ],
)
def test_parts_that_do_not_lie_above_each_other_are_named(parts: list[LoRA | None]):
    with pytest.raises(AdapterFileError, match=r"double_blocks\.0\.img_attn\.qkv has an impossible shape"):
        fuse_qkv("double_blocks.0.img_attn.qkv", parts, QKV)


def test_rows_that_cannot_be_shared_out_are_named():
    with pytest.raises(AdapterFileError, match="its 10 rows are not a multiple of 7"):
        split_qkv("single_blocks.0.linear1", LoRA(torch.ones(2, 5), torch.ones(10, 2), 1.0), LINEAR1)
