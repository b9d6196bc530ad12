"""Whatever keys and tensors a file mixes, every program's reading of it is an answer and not a crash."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from flux_lora.adapter.loaders.compatibility import LOADERS, compatibility
from tests.adapter.loaders.state_dicts import everything
from tests.adapter.loaders.test_compatibility import MEASURED

KEYS = sorted({key for tensors, _ in MEASURED.values() for key in tensors})
NAMES = tuple(everything())
SHAPES = st.lists(st.integers(0, 9), max_size=4)
DTYPES = st.sampled_from([torch.float32, torch.bfloat16, torch.float16, torch.int8, torch.bool, torch.float64])
ALPHAS = st.floats(allow_nan=True, allow_infinity=True).map(lambda number: torch.tensor(number, dtype=torch.float64))
TENSORS = st.builds(lambda shape, dtype: torch.ones(shape, dtype=dtype), SHAPES, DTYPES) | ALPHAS
FILES = st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=30), TENSORS, max_size=12)


@settings(max_examples=100, deadline=None)
@given(tensors=FILES, told=st.text(max_size=40))
def test_every_mixture_gets_a_verdict_from_every_program(tensors: dict[str, Tensor], told: str):
    answers = compatibility(tensors, {"lora_adapter_metadata": told}, NAMES)
    assert [answer.reader for answer in answers] == list(LOADERS)


@settings(max_examples=100, deadline=None)
@given(tensors=FILES)
def test_every_key_is_used_or_said_to_be_left(tensors: dict[str, Tensor]):
    for reader in LOADERS.values():
        consumed = reader.load(tensors, {}, NAMES)
        assert set(consumed.unused) <= set(tensors)
        if consumed.stopped:
            assert not consumed.deltas and set(consumed.unused) == set(tensors)
