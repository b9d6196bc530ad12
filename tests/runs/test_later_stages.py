"""What evaluation, export and upload would fail by is said before the first step, and nothing is made."""

from pathlib import Path

import pytest

from flux_lora.commands.run import run
from flux_lora.commands.train import train
from flux_lora.config.compose import compose_config
from flux_lora.errors import UserError
from tests.test_path import photos, settings

__all__ = ["photos"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model.scorer=/nowhere/clip"], "/nowhere/clip holds no CLIP to score with"),
        (["export.file={here}/taken.safetensors"], "taken.safetensors is there already, and is not of this run"),
        (["export.dir={here}/taken.safetensors"], "taken.safetensors is not a folder that may be written to"),
        (["export.push_to_hub=a/b/c"], "push_to_hub"),
        (["export.push_to_hub=me/zubo"], "cannot be reached: HF_HUB_OFFLINE is set"),
    ],
    ids=["no scorer", "file is there", "folder is a file", "no name", "no hub"],
)
def test_a_run_that_could_not_be_judged_exported_or_uploaded_does_not_begin(
    tiny_flux: Path, photos: Path, tmp_path: Path, words: list[str], said: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_TOKEN", "hf_somebody")
    (tmp_path / "taken.safetensors").write_text("another's")
    more = [word.format(here=tmp_path) for word in words]
    with pytest.raises(UserError, match=said) as refused:
        run(compose_config(settings(tiny_flux, photos, tmp_path / "run", *more)))
    assert refused.value.fix
    assert not (tmp_path / "run").exists()
    assert (tmp_path / "taken.safetensors").read_text() == "another's"


def test_training_alone_asks_for_nothing_that_it_does_not_need(tiny_flux: Path, photos: Path, tmp_path: Path):
    words = ["model.scorer=/nowhere/clip", "train.steps=1", "train.save_every=1", "preview.every=0"]
    assert train(compose_config(settings(tiny_flux, photos, tmp_path / "run", *words, "train.preservation=0"))) == 0
    with pytest.raises(UserError, match="holds no CLIP"):
        train(compose_config(settings(tiny_flux, photos, tmp_path / "other", *words, "train.evaluate_every=1")))
