"""A stage says what it took."""

import sys

import pytest
import torch

from flux_lora.data.cache.encode import peak_bytes, profiled

MIB = 2**20


def test_a_stage_gives_its_result_its_name_and_its_seconds():
    result, stage = profiled("captions", lambda: "done")
    assert (result, stage.name) == ("done", "captions")
    assert stage.seconds >= 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets a peak")
def test_the_peak_of_a_stage_is_its_own():
    _, large = profiled("large", lambda: torch.ones(32 * MIB).sum())
    _, small = profiled("small", lambda: torch.ones(1).sum())
    assert large.peak_bytes - small.peak_bytes > 100 * MIB
    assert peak_bytes() > 0
