"""What is written, and what is refused before anything is."""

import pytest
import torch

from flux_lora.adapter.dialects.table import DIALECTS, WRITABLE
from flux_lora.adapter.layer_types import Adapter, DoRA, LoRA
from flux_lora.errors import AdapterFileError
from tests.adapter.dialects.widths import ALL, QKV, WIDTH, adapter

LAYER = LoRA(torch.ones(2, WIDTH), torch.ones(WIDTH, 2), 1.0)


def test_what_a_dialect_cannot_carry_is_named_with_the_way_out():
    for dialect, modules in (("kohya", "proj_out, norm_out.linear"), ("xlabs", "proj_mlp, .* and 15 more")):
        write = DIALECTS[dialect].write
        assert write is not None
        with pytest.raises(AdapterFileError, match=modules) as caught:
            write(adapter(ALL), torch.float32)
        assert "export.dialects=[diffusers]" in caught.value.fix


@pytest.mark.parametrize("dialect", [name for name in WRITABLE if name not in ("lycoris", "peft")])
def test_dora_is_refused_where_its_readers_disagree(dialect: str):
    write = DIALECTS[dialect].write
    assert write is not None
    with pytest.raises(AdapterFileError, match="no DoRA that all its readers read right; one is on transformer_blocks"):
        write(Adapter({QKV[0]: DoRA(LAYER, torch.rand(WIDTH))}), torch.float32)


def test_a_number_too_large_for_half_precision_is_refused():
    write = DIALECTS["diffusers"].write
    assert write is not None
    with pytest.raises(AdapterFileError, match="holds 7e.04, more than float16 can"):
        write(Adapter({QKV[0]: LoRA(LAYER.down, torch.full((WIDTH, 2), 7e4), 2.0)}), torch.float16)


@pytest.mark.parametrize("alpha", [-3.0, 0.0])
@pytest.mark.parametrize("dialect", WRITABLE)
def test_no_file_has_an_alpha_that_programs_misread(dialect: str, alpha: float):
    write = DIALECTS[dialect].write
    assert write is not None
    tensors = write(adapter([QKV[0]], alpha=alpha), torch.bfloat16)
    assert all(value.item() > 0 and value.ndim == 0 for key, value in tensors.items() if key.endswith(".alpha"))
