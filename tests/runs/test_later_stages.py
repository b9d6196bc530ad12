"""What evaluation, export and upload would fail by is said before the first step, and nothing is made."""

import shutil
from pathlib import Path

import pytest
import torch

from flux_lora.adapter.files import write_dialect
from flux_lora.adapter.layer_types import Adapter, LoRA
from flux_lora.commands.evaluate import evaluate
from flux_lora.commands.run import run
from flux_lora.commands.terminal import FELL_SHORT
from flux_lora.commands.train import train
from flux_lora.config.compose import compose_config
from flux_lora.errors import AdapterFileError, ConfigError, DataError, RunError, UserError
from flux_lora.runs.exporting import export_run
from flux_lora.runs.run import Run
from tests.test_path import PROMPTS, photo_folder, photos, settings

__all__ = ["photos"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model.scorer=/nowhere/clip"], "/nowhere/clip holds no CLIP to score with"),
        (["export.file={here}/taken.safetensors"], "taken.safetensors is there already, and is not of this run"),
        (["export.dir={here}/taken.safetensors"], "taken.safetensors is not a folder that may be written to"),
        (["export.push_to_hub=a/b/c"], "push_to_hub"),
        (["export.push_to_hub=me/zubo"], "cannot be reached: HF_HUB_OFFLINE is set"),
        (["evaluate.adapter={here}/taken.safetensors"], "this run trains one of its own"),
        (["run.dir={here}/photos/run"], "what is written there would be read as photos"),
        (["export.dir={here}/photos/out"], "what is written there would be read as photos"),
        (["data.prompts={here}/apart.txt", "evaluate.description='a red mug'"], "the prompt 'a zorb, my mug'"),
    ],
    ids=[
        *("no scorer", "file is there", "folder is a file", "no name", "no hub", "another's file"),
        *("run among photos", "export among photos", "no place for the description"),
    ],
)
def test_a_run_that_could_not_be_judged_exported_or_uploaded_does_not_begin(
    tiny_flux: Path, photos: Path, tmp_path: Path, words: list[str], said: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_TOKEN", "hf_somebody")
    (tmp_path / "taken.safetensors").write_text("another's")
    (tmp_path / "apart.txt").write_text(PROMPTS.replace("a {trigger} {class} on a table", "a {trigger}, my {class}"))
    more = [word.format(here=tmp_path) for word in words]
    with pytest.raises(UserError, match=said) as refused:
        run(compose_config(settings(tiny_flux, photos, tmp_path / "run", *more)))
    assert refused.value.fix
    assert not (tmp_path / "run").exists() and not (photos / "run").exists()
    assert (tmp_path / "taken.safetensors").read_text() == "another's"


def test_training_alone_asks_for_nothing_that_it_does_not_need(tiny_flux: Path, photos: Path, tmp_path: Path):
    words = ["model.scorer=/nowhere/clip", "train.steps=1", "train.save_every=1", "preview.every=0"]
    assert train(compose_config(settings(tiny_flux, photos, tmp_path / "run", *words, "train.preservation=0"))) == 0
    with pytest.raises(UserError, match="holds no CLIP"):
        train(compose_config(settings(tiny_flux, photos, tmp_path / "other", *words, "train.evaluate_every=1")))


QUICK = ("train.steps=1", "train.save_every=1", "preview.every=0", "train.preservation=0")


@pytest.fixture
def trained(tiny_flux: Path, photos: Path, tmp_path: Path) -> Path:
    """A run of one step."""
    assert train(compose_config(settings(tiny_flux, photos, tmp_path / "run", *QUICK))) == 0
    return tmp_path / "run"


def test_photos_that_were_trained_on_do_not_judge(tiny_flux: Path, tmp_path: Path):
    folder = photo_folder(tmp_path / "ten", 10)
    shutil.rmtree(folder / "held_out")
    words = settings(tiny_flux, folder, tmp_path / "run", *QUICK, "data.held_out_images=0")
    assert train(compose_config(words)) == 0
    with pytest.raises(DataError, match="is held out now, and .* was trained on it"):
        evaluate(compose_config([*words, "data.held_out_images=2"]))
    assert not (tmp_path / "run" / "evaluation").exists()


def test_nor_do_copies_of_them_that_were_moved_aside(trained: Path, tiny_flux: Path, photos: Path):
    """evaluate once gave this as its advice, and called the photos unseen."""
    shutil.rmtree(photos / "held_out")
    (photos / "held_out").mkdir()
    for number in (0, 1):
        (photos / f"photo_{number}.png").rename(photos / "held_out" / f"renamed_{number}.png")
    with pytest.raises(DataError, match="renamed_0.png is held out now, and .* was trained on it"):
        evaluate(compose_config(settings(tiny_flux, photos, trained, *QUICK)))


def test_going_on_with_other_class_images_is_refused(tiny_flux: Path, photos: Path, tmp_path: Path):
    words = settings(tiny_flux, photos, tmp_path / "run", "preview.every=0", "train.class_images=4")
    assert train(compose_config(words)) == 0
    shutil.rmtree(max((tmp_path / "run" / "checkpoints").iterdir()))
    with pytest.raises(RunError, match="class images are other ones"):
        train(compose_config([*words, "evaluate.steps=3"]))
    kept = (photos / "prompts.txt").read_text()
    (photos / "prompts.txt").write_text(f"{kept}[kept]\na green tractor\na lighthouse\n")
    with pytest.raises(RunError, match="class images are other ones"):
        train(compose_config(words))
    (photos / "prompts.txt").write_text(kept)
    assert train(compose_config(words)) == 0


def test_a_file_does_not_take_the_place_of_a_runs_own_checkpoints(
    trained: Path, tiny_flux: Path, photos: Path, tmp_path: Path
):
    """It once went into the run's recipe, and every later evaluation judged it."""
    recipe = (trained / "recipe.yaml").read_text()
    file = next(trained.glob("checkpoints/*/adapter.safetensors"))
    with pytest.raises(ConfigError, match="holds checkpoints of its own"):
        evaluate(compose_config(settings(tiny_flux, photos, trained, *QUICK, f"evaluate.adapter={file}")))
    assert (trained / "recipe.yaml").read_text() == recipe


def test_a_file_for_another_base_is_refused_before_anything_is_drawn(tiny_flux: Path, photos: Path, tmp_path: Path):
    file = write_dialect(
        Adapter({"transformer_blocks.40.attn.to_q": LoRA(torch.ones(4, 64), torch.ones(64, 4), 4.0)}),
        tmp_path / "big.safetensors", dialect="diffusers", metadata={}, dtype=torch.float32,
    )  # fmt: skip
    with pytest.raises(AdapterFileError, match="this base has no such layer"):
        evaluate(compose_config(settings(tiny_flux, photos, tmp_path / "judged", f"evaluate.adapter={file}")))
    assert not (tmp_path / "judged").exists()


def test_an_export_that_broke_off_is_done_again_by_the_same_command(
    trained: Path, tiny_flux: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Its file was there already, and once counted as another's."""
    config = compose_config(settings(tiny_flux, photos, trained, *QUICK, f"export.dir={tmp_path / 'shared'}"))

    def broken_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("flux_lora.runs.exporting.write_shared_files", broken_off)
        with pytest.raises(KeyboardInterrupt):
            export_run(Run(config))
    assert (tmp_path / "shared" / "zorb.safetensors").is_file()
    assert export_run(Run(config)).file.is_file()


def test_a_photo_that_cannot_be_read_and_need_not_be_stays_out_of_the_evaluation(
    tiny_flux: Path, photos: Path, tmp_path: Path
):
    (photos / "broken.png").write_bytes(b"no image")
    (photos / "broken.txt").write_text("a zorb mug")
    off = "check.off=[{rule: unreadable, reason: it is known}]"
    assert run(compose_config(settings(tiny_flux, photos, tmp_path / "run", off))) == FELL_SHORT
    assert (tmp_path / "run" / "report.html").is_file()
