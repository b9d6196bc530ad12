"""An adapter that goes through any two dialects does what it did before."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator

from flux_lora.adapter.dialects.alpha import parse_peft_config
from flux_lora.adapter.dialects.peft import from_peft, peft_config
from flux_lora.adapter.dialects.table import DIALECTS, WRITABLE, detect
from flux_lora.adapter.files import read_contents, write_dialect
from flux_lora.adapter.layer_types import Adapter, delta_distance, frobenius_norm
from tests.adapter.dialects.widths import ALL, ATTENTION, BLOCKS, EMBEDDERS, adapter, layer

CARRIES = dict.fromkeys(WRITABLE, ALL) | {"kohya": [*BLOCKS, *EMBEDDERS], "xlabs": ATTENTION}
BOUNDS = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 4e-3}
"""Twice through a dtype that keeps 24, 8 and 11 bits of each factor."""


@st.composite
def adapters(draw: st.DrawFn) -> tuple[list[str], Adapter, torch.dtype]:
    """Two dialects, an adapter that both can carry, of any modules, ranks and alphas; and a dtype."""
    route = [draw(st.sampled_from(WRITABLE)), draw(st.sampled_from(WRITABLE))]
    carried = [name for name in ALL if all(name in CARRIES[dialect] for dialect in route)]
    names = draw(st.lists(st.sampled_from(carried), min_size=1, unique=True))
    alike = draw(st.booleans())
    ranks = st.integers(1, 5)
    alphas = st.sampled_from([-2.0, 0.5, 1.0, 3.0, 16.0])
    one = (draw(ranks), draw(alphas))
    generator = Generator().manual_seed(draw(st.integers(0, 9)))
    layers = {}
    for name in names:
        rank, alpha = one if alike else (draw(ranks), draw(alphas))
        layers[name] = layer(name, rank=rank, alpha=alpha, generator=generator)
    return route, Adapter(layers), draw(st.sampled_from(list(BOUNDS)))


def through(before: Adapter, dialect: str, dtype: torch.dtype) -> Adapter:
    chosen = DIALECTS[dialect]
    assert chosen.write is not None
    tensors = chosen.write(before, dtype)
    assert detect(tensors).name == dialect
    if chosen.folder:
        return from_peft(tensors, parse_peft_config(peft_config(before), "config"))
    return chosen.read(tensors, {}).adapter


def check_same(after: Adapter, before: Adapter, bound: float) -> None:
    assert set(after.deltas) == set(before.deltas)
    for name, trained in before.layers.items():
        assert delta_distance(after.layers[name], trained) <= bound * frobenius_norm(trained), name


@settings(max_examples=100, deadline=None)
@given(adapters())
def test_any_two_dialects_keep_what_any_adapter_changes(drawn: tuple[list[str], Adapter, torch.dtype]):
    (first, second), before, dtype = drawn
    check_same(through(through(before, first, dtype), second, dtype), before, BOUNDS[dtype])


@pytest.mark.slow
@settings(max_examples=5000, deadline=None)
@given(adapters())
def test_any_two_dialects_keep_what_any_adapter_changes_many_times_over(
    drawn: tuple[list[str], Adapter, torch.dtype],
):
    (first, second), before, dtype = drawn
    check_same(through(through(before, first, dtype), second, dtype), before, BOUNDS[dtype])


@pytest.mark.parametrize("dialect", WRITABLE)
def test_a_written_file_is_read_back_and_its_dialect_is_seen(dialect: str, tmp_path: Path):
    before = adapter(CARRIES[dialect])
    place = write_dialect(before, tmp_path / "x", dialect=dialect, metadata={"word": "yes"}, dtype=torch.float32)
    reading = read_contents(place)
    check_same(reading.adapter, before, 1e-6)
    assert reading.dialect == dialect and reading.metadata["word"] == "yes"
    assert reading.remarks == () and not reading.text_encoders.deltas
