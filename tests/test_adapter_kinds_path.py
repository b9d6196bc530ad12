"""Adapters of other kinds go the whole path, and what a dialect cannot hold is refused before anything is trained."""

from pathlib import Path

import pytest

from flux_lora.adapter.files import read_adapter
from flux_lora.adapter.inspection import describe
from flux_lora.adapter.layer_types import tensors_in, type_name
from flux_lora.config.choices import AdapterKind
from flux_lora.config.compose import compose_config
from flux_lora.errors import ConfigError
from flux_lora.runs.encoding import encode_dataset
from flux_lora.runs.exporting import export_run
from flux_lora.runs.preflight import preflight
from flux_lora.runs.run import Run
from flux_lora.runs.training import train_adapter
from flux_lora.train.checkpoints import complete_checkpoints
from tests.test_path import photo_folder, settings

OTHERS = [kind for kind in AdapterKind if kind is not AdapterKind.lora]
READERS = {
    AdapterKind.dora: {"flux_lora"},
    AdapterKind.lokr: {"ComfyUI", "Forge"},
    AdapterKind.loha: {"ComfyUI", "Forge"},
}
"""Of LyCORIS' names. ComfyUI divides a DoRA's lengths for outputs by another norm."""
SHORT = ["train.steps=2", "train.save_every=1", "preview.every=2", "train.preservation=0", "train.class_images=0"]


@pytest.mark.parametrize("kind", OTHERS)
def test_every_kind_is_trained_exported_proven_and_inspected(kind: AdapterKind, tiny_flux: Path, tmp_path: Path):
    photos = photo_folder(tmp_path / "photos", 5)
    more = [*SHORT, f"adapter.kind={kind}", "export.dialects=[lycoris]", "evaluate.strengths=[1.0]"]
    run = Run(compose_config(settings(tiny_flux, photos, tmp_path / "run", *more)))
    dataset = preflight(run)
    run.begin()
    train_adapter(run, encode_dataset(run, dataset))
    trained = read_adapter(complete_checkpoints(run.folder.root)[-1].adapter_file)
    (proof,) = export_run(run).proofs
    assert {each.reader for each in proof.readers} == READERS[kind]
    assert all(each.modules == len(trained.deltas) and not each.unused for each in proof.readers)
    written = read_adapter(Path(proof.file))
    assert {type_name(delta).lower() for delta in written.deltas.values()} == {kind.value}
    assert sum(each.numel() for delta in written.deltas.values() for each in tensors_in(delta)) == sum(
        each.numel() for delta in trained.deltas.values() for each in tensors_in(delta)
    )
    found = describe(Path(proof.file))
    assert found.dialect == "lycoris" and found.layers == len(trained.deltas)
    assert [each.lower() for each in found.kinds] == [kind.value]


@pytest.mark.parametrize(
    ("kind", "dialect", "said"),
    [
        ("dora", "diffusers", "has no spelling of a DoRA"),
        ("lokr", "diffusers", "has no spelling of a LoKr"),
        ("lokr", "kohya", "has no spelling of a LoKr"),
        ("loha", "comfyui", "into one matrix with others, which a LoHa cannot share"),
        ("loha", "peft", "has no spelling of a LoHa"),
    ],
)
def test_what_the_chosen_file_cannot_hold_is_refused_first_with_one_that_can(
    kind: str, dialect: str, said: str, tiny_flux: Path, tmp_path: Path
):
    photos = photo_folder(tmp_path / "photos", 5)
    more = [f"adapter.kind={kind}", f"export.dialects=[lycoris,{dialect}]", "evaluate.strengths=[1.0]"]
    with pytest.raises(ConfigError) as refused:
        preflight(Run(compose_config(settings(tiny_flux, photos, tmp_path / "run", *more))))
    assert said in refused.value.problem and "lycoris" in refused.value.fix
    assert not (tmp_path / "run").exists()
