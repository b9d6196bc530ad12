"""DiffSynth's own names, by the table of its converter to kohya's names."""

import pytest
import torch
from safetensors.torch import save_file

from flux_lora.adapter.dialects.table import DIALECTS, detect
from flux_lora.adapter.files import read_contents
from flux_lora.adapter.layer_types import delta_of
from tests.adapter.other_trainers import DIALECTS as FILES

AS_KOHYA = {
    "blocks.0.attn.a_to_qkv": "double_blocks_0_img_attn_qkv",
    "blocks.0.attn.b_to_out": "double_blocks_0_txt_attn_proj",
    "blocks.0.ff_a.0": "double_blocks_0_img_mlp_0",
    "blocks.0.norm1_b.linear": "double_blocks_0_txt_mod_lin",
    "single_blocks.1.to_qkv_mlp": "single_blocks_1_linear1",
    "single_blocks.1.proj_out": "single_blocks_1_linear2",
    "single_blocks.1.norm.linear": "single_blocks_1_modulation_lin",
}
"""What DiffSynth's FluxLoRAConverter.align_to_opensource_format makes of these names."""
KOHYA_ENDS = {".lora_A.default.weight": ".lora_down.weight", ".lora_B.default.weight": ".lora_up.weight"}


def as_kohya(key):
    stem, end = next((key.removesuffix(end), new) for end, new in KOHYA_ENDS.items() if key.endswith(end))
    return f"lora_unet_{AS_KOHYA[stem]}{end}"


@pytest.mark.parametrize("prefix", ["", "pipe.dit."])
def test_a_file_of_diffsynth_changes_what_its_own_converter_makes_of_it(prefix, tmp_path):
    own = FILES["diffsynth"]
    kohya = {as_kohya(key): tensor for key, tensor in own.items()}
    stems = {key.partition(".lora_")[0] for key in kohya}
    kohya |= {f"{stem}.alpha": torch.tensor(2.0) for stem in stems}
    save_file({f"{prefix}{key}": tensor for key, tensor in own.items()}, tmp_path / "own.safetensors")
    read, wanted = read_contents(tmp_path / "own.safetensors"), DIALECTS["kohya"].read(kohya, {})
    assert read.dialect == "diffsynth" and set(read.adapter.deltas) == set(wanted.adapter.deltas)
    for name, delta in wanted.adapter.deltas.items():
        torch.testing.assert_close(delta_of(read.adapter.deltas[name]), delta_of(delta))


def test_names_that_diffsynth_has_not_are_no_diffsynth_file():
    assert not any(DIALECTS["diffsynth"].owns(key) for key in FILES["xlabs"] | FILES["bfl"] | FILES["bare diffusers"])
    assert detect(FILES["diffsynth"]).name == "diffsynth"
