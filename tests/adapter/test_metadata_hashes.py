"""Digests agree with a second way of computing them: the shell's sha256sum and sd-scripts' own steps."""

import subprocess
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import save, save_file
from torch import Tensor

from flux_lora.adapter.header import read_header
from flux_lora.adapter.metadata import OF_NOTHING, Hashes, hashes_of

TRAINED = {"ss_output_name": "mug \u00e9", "ss_network_dim": "4"}
OTHERS = {"modelspec.title": 'a "mug"\n', "format": "pt"}


def tensors(side: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(side)
    made = torch.randn(side, 64, generator=generator)
    return {
        "transformer.a.lora_B.weight": made.bfloat16(),
        "transformer.a.lora_A.weight": made,
        "a.alpha": made[0, 0].clone(),
    }


def seen(file: Path) -> Hashes:
    return hashes_of(file, read_header(file))


@pytest.mark.parametrize("side", [2, 3000, 6000], ids=["small", "ending in the window", "large"])
def test_the_digests_are_those_of_the_shell_and_of_sd_scripts(side: int, tmp_path: Path):
    file = tmp_path / "x.safetensors"
    save_file(tensors(side), file, TRAINED | OTHERS)
    found, raw = seen(file), file.read_bytes()
    shell = subprocess.run(["sha256sum", file], capture_output=True, text=True, check=True).stdout.split()[0]
    assert (found.sha256, found.autov2) == (shell, shell[:10])
    assert found.autov1 == sha256(raw[0x100000:0x110000]).hexdigest()[:8]
    trained_alone = save(tensors(side), TRAINED)
    body = trained_alone[8 + int.from_bytes(trained_alone[:8], "little") :]
    assert found.tensors == sha256(body).hexdigest() != OF_NOTHING
    assert found.autov3 == found.tensors[:12]
    assert found.legacy == sha256(trained_alone[0x100000:0x110000]).hexdigest()[:8]


def test_other_words_in_the_header_change_the_file_s_name_and_not_its_contents_name(tmp_path: Path):
    save_file(tensors(2), tmp_path / "one", {"modelspec.title": "one"})
    save_file(tensors(2), tmp_path / "two", {"modelspec.title": "two"})
    assert seen(tmp_path / "one").autov3 == seen(tmp_path / "two").autov3
    assert seen(tmp_path / "one").autov2 != seen(tmp_path / "two").autov2


def test_a_header_longer_than_a_mebibyte_is_part_of_the_window(tmp_path: Path):
    file = tmp_path / "x.safetensors"
    save_file(tensors(2), file, {"ss_tag_frequency": "x" * 0x108000})
    found, raw = seen(file), file.read_bytes()
    assert found.legacy == found.autov1 == sha256(raw[0x100000:0x110000]).hexdigest()[:8]
