"""The table for diffusers agrees with diffusers' own conversion, spelling by spelling."""

import pytest
import torch
from diffusers import FluxPipeline
from torch import Tensor

from flux_lora.adapter.layer_types import DoRA, LoRA, lora_delta
from flux_lora.adapter.loaders.diffusers import DIFFUSERS
from tests.adapter.loaders.state_dicts import everything
from tests.adapter.loaders.test_compatibility import MEASURED

STOPS = (ValueError, KeyError, IndexError, AssertionError, NotImplementedError)
PREFIX, DOWN, UP = "transformer.", ".lora_A.weight", ".lora_B.weight"
ROWS = [row for row in MEASURED if "CLIP" not in row and "T5" not in row]


def converted(tensors: dict[str, Tensor]) -> dict[str, LoRA] | None:
    """What diffusers makes of the file for the transformer; None if it stops."""
    try:
        state, alphas, _ = FluxPipeline.lora_state_dict(dict(tensors), return_alphas=True, return_lora_metadata=True)
    except STOPS:
        return None
    if not any("lora" in key for key in state):
        return None
    names = [key[len(PREFIX) : -len(DOWN)] for key in state if key.startswith(PREFIX) and key.endswith(DOWN)]
    found = {}
    for name in names:
        down, up = state[f"{PREFIX}{name}{DOWN}"], state[f"{PREFIX}{name}{UP}"]
        found[name] = LoRA(down, up, float((alphas or {}).get(f"{PREFIX}{name}.alpha", down.shape[0])))
    return found


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_diffusers_makes_the_same_of_a_file(row: str):
    tensors, _ = MEASURED[row]
    tensors = {key: tensor for key, tensor in tensors.items() if "linear1" not in key}  # at 3072 only
    consumed = DIFFUSERS.load(tensors, {}, everything())
    theirs = converted(tensors)
    if theirs is None or set(theirs) - set(everything()):  # peft stops at modules that FLUX.1 has not
        assert consumed.stopped
        return
    ours = {name: each.lora if isinstance(each, DoRA) else each for name, each in consumed.deltas.items()}
    assert set(ours) == set(theirs)
    for name, layer in theirs.items():
        ourselves = ours[name]
        assert isinstance(ourselves, LoRA)
        torch.testing.assert_close(lora_delta(ourselves), lora_delta(layer))
