"""The whole path on a tiny FLUX: photos in, a proven file out, and nothing lost on the way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from PIL import Image, ImageDraw

from flux_lora.adapter.attach import load_into
from flux_lora.adapter.files import read_adapter
from flux_lora.adapter.header import read_header
from flux_lora.adapter.layer_types import lora_delta
from flux_lora.commands.run import run
from flux_lora.commands.terminal import FELL_SHORT
from flux_lora.config.compose import compose_config
from flux_lora.errors import AdapterFileError, ConfigError, RunError
from flux_lora.models.flux1 import load
from flux_lora.models.flux1.load import load_transformer
from flux_lora.render.kept import spec_in
from flux_lora.runs.encoding import encode_dataset
from flux_lora.runs.exporting import export_run
from flux_lora.runs.preflight import preflight
from flux_lora.runs.run import Run
from flux_lora.runs.training import train_adapter
from flux_lora.train.checkpoints import complete_checkpoints, latest_checkpoint
from flux_lora.train.reporters import read_metrics

PROMPTS = """
[trigger]
a {trigger} {class} on a table
a {trigger} {class} in the grass
[unrelated]
a red ball
a blue house
"""


def photograph(file: Path, number: int, caption: str) -> None:
    """An image of something, and its caption."""
    image = Image.new("RGB", (96 + 32 * (number % 2), 96), (200, 60 + 20 * number, 90))
    ImageDraw.Draw(image).ellipse((20 + 3 * number, 20, 70, 70), fill=(30, 30 * number % 255, 200))
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file)
    if caption:
        file.with_suffix(".txt").write_text(caption)


def photo_folder(folder: Path, count: int) -> Path:
    """So many captioned photos, three held out, and prompts."""
    for number in range(count):
        photograph(folder / f"photo_{number}.png", number, f"a zorb mug in place number {number}")
    for number in range(count, count + 3):
        photograph(folder / "held_out" / f"photo_{number}.png", number, "")
    (folder / "prompts.txt").write_text(PROMPTS)
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return photo_folder(tmp_path / "photos", 5)


def settings(tiny_flux: Path, photos: Path, run_dir: Path, *more: str) -> list[str]:
    """A run of a few steps, on the recipe and model of the real thing."""
    return [
        "recipe=product",
        "model=flux_dev",
        "hardware=cpu",
        f"model.path={tiny_flux}",
        f"model.scorer={tiny_flux / 'scorer'}",
        "model.max_sequence_length=32",
        f"data.folder={photos}",
        "data.trigger=zorb",
        "data.class_word=mug",
        "data.resolution=64",
        "adapter.rank=4",
        "train.steps=6",
        "train.save_every=3",
        "train.learning_rate=1e-2",
        "train.batch_size=2",
        "train.warmup_steps=0",
        "preview.every=3",
        "preview.steps=2",
        "evaluate.steps=2",
        "export.anyway=true",
        "evaluate.seeds=1",
        "evaluate.checkpoints=2",
        f"run.dir={run_dir}",
        *more,
    ]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "flux_lora", *arguments]


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


@pytest.fixture
def finished(tiny_flux: Path, photos: Path, tmp_path: Path) -> Path:
    """The folder of a run that went all the way; a random base cannot learn, so nothing passes."""
    assert run(compose_config(settings(tiny_flux, photos, tmp_path / "runs" / "mug"))) == FELL_SHORT
    return tmp_path / "runs" / "mug"


def test_one_block_alone_is_trained_and_exported_and_one_that_is_not_there_is_refused_first(
    tiny_flux: Path, photos: Path, tmp_path: Path
):
    more = ["train.steps=2", "train.save_every=1", "preview.every=0", "train.preservation=0", "train.class_images=0"]
    whole = settings(tiny_flux, photos, tmp_path / "one", *more)
    begun = Run(compose_config([*whole, "adapter.blocks=[single.0]"]))
    dataset = preflight(begun)
    begun.begin()
    train_adapter(begun, encode_dataset(begun, dataset))
    exported = export_run(begun)
    names = set(read_adapter(exported.file).deltas)
    assert len(names) == 5 and all(name.startswith("single_transformer_blocks.0.") for name in names)
    with pytest.raises(ConfigError, match="'single.7', in which nothing is trained; there are double.0-0 and single"):
        preflight(Run(compose_config([*whole, "adapter.blocks=[single.7]", f"run.dir={tmp_path / 'other'}"])))


def test_a_run_begins_from_a_lora_file_and_goes_on_when_that_is_gone(
    finished: Path, tiny_flux: Path, photos: Path, tmp_path: Path
):
    """One step at hardly any rate leaves what it began from; the second command needs the file no more."""
    file = shutil.copy(json.loads((finished / "summary.json").read_text())["files"][0]["file"], tmp_path / "old")
    more = ["train.steps=1", "train.save_every=1", "train.learning_rate=1e-9", "preview.every=0"]
    more += ["train.lr_scheduler=constant", "train.preservation=0", "train.class_images=0", f"adapter.start={file}"]
    again = settings(tiny_flux, photos, tmp_path / "again", *more)
    begun = Run(compose_config(again))
    dataset = preflight(begun)
    begun.begin()
    train_adapter(begun, encode_dataset(begun, dataset))
    (checkpoint,) = complete_checkpoints(begun.folder.root)
    before, after = read_adapter(Path(file)).layers, read_adapter(checkpoint.adapter_file).layers
    for name, layer in before.items():
        torch.testing.assert_close(lora_delta(after[name]), lora_delta(layer), atol=1e-4, rtol=1e-2)

    Path(file).rename(tmp_path / "elsewhere")
    prolonged = Run(compose_config([*again, "train.steps=2"]))
    train_adapter(prolonged, encode_dataset(prolonged, preflight(prolonged)))
    assert [one.step for one in complete_checkpoints(begun.folder.root)] == [1, 2]
    with pytest.raises(AdapterFileError, match="there is no such file"):
        preflight(Run(compose_config([*again, f"run.dir={tmp_path / 'third'}"])))


@pytest.mark.filterwarnings("default")
def test_photos_become_a_file_that_diffusers_loads_with_equal_output(finished: Path, tiny_flux: Path):
    summary = json.loads((finished / "summary.json").read_text())
    assert (summary["status"], summary["steps"], summary["schema"]) == ("done", 6, 1)
    file = Path(summary["files"][0]["file"])
    assert all(reader["unused"] == 0 for reader in summary["files"][0]["verification"]["readers"])

    chosen = summary["chosen"]
    adapter = read_adapter(finished / "checkpoints" / f"step-{chosen['step']:06d}" / "adapter.safetensors")
    trained = load_transformer(str(tiny_flux), torch.float32)
    load_into(trained, adapter)
    for module in trained.modules():
        if "lora_A" in vars(module).get("_modules", {}):
            module.scale_layer(chosen["strength"])  # type: ignore[operator]
    pipeline = FluxPipeline.from_pretrained(tiny_flux)
    pipeline.load_lora_weights(str(file))
    torch.manual_seed(0)
    config = trained.config
    question = {
        "hidden_states": torch.randn(1, 16, config["in_channels"]),
        "encoder_hidden_states": torch.randn(1, 8, config["joint_attention_dim"]),
        "pooled_projections": torch.randn(1, config["pooled_projection_dim"]),
        "timestep": torch.tensor([0.5]),
        "guidance": torch.tensor([3.5]),
        "img_ids": torch.zeros(16, 3),
        "txt_ids": torch.zeros(8, 3),
        "return_dict": False,
    }
    with torch.no_grad():
        plain = load_transformer(str(tiny_flux), torch.float32)(**question)[0]
        wanted, got = trained(**question)[0], pipeline.transformer(**question)[0]
    assert (wanted - plain).norm() > 0
    assert (wanted - got).norm() <= 0.02 * (wanted - plain).norm(), "only rounding to bf16 lies between them"

    page = (finished / "report.html").read_text()
    assert "zorb" in page and "<script" not in page


def test_card_and_metadata_count_the_photos_and_not_what_the_base_made_to_be_held_to(finished: Path):
    """Five photos and 24 class images: a card once said 29 photos."""
    file = Path(json.loads((finished / "summary.json").read_text())["files"][0]["file"])
    assert read_header(file).metadata["ss_num_train_images"] == "5"
    assert "5 photos at 64 x 64 pixels" in (finished / "export" / "README.md").read_text()


@pytest.mark.parametrize("how", ["int8", "nf4"])
def test_a_run_on_a_quantised_base_goes_the_whole_way_and_says_how_coarse_it_is(
    tiny_flux: Path, photos: Path, tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]
):
    asked = settings(tiny_flux, photos, tmp_path / "runs" / "mug", f"hardware.quantize={how}", "train.class_images=2")
    assert run(compose_config([*asked, "train.preservation=1.0"])) == FELL_SHORT
    summary = json.loads((tmp_path / "runs" / "mug" / "summary.json").read_text())
    assert summary["status"] == "done"
    assert all(reader["unused"] == 0 for reader in summary["files"][0]["verification"]["readers"])
    assert f"{how}: 20 layers quantised" in capsys.readouterr().err


def test_a_whole_run_loads_its_base_once(
    tiny_flux: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    loaded: list[str] = []

    def counted(path: str, *rest: Any, **named: Any) -> FluxTransformer2DModel:
        loaded.append(path)
        return load_transformer(path, *rest, **named)

    monkeypatch.setattr(load, "load_transformer", counted)
    run(compose_config(settings(tiny_flux, photos, tmp_path / "runs" / "mug", "train.evaluate_every=3")))
    assert loaded == [str(tiny_flux)]


def test_every_image_of_a_run_says_how_it_was_made(finished: Path):
    """Previews, what was judged, and the example beside the file."""
    files = [*finished.glob("samples/*/*.png"), *finished.glob("evaluation/*/*.png"), *finished.glob("**/example.png")]
    assert {file.parts[len(finished.parts)] for file in files} >= {"samples", "evaluation"}
    made = {file: spec_in(file) for file in files}
    assert all(made.values()), [file for file, spec in made.items() if not spec]
    last = max(finished.glob("checkpoints/step-*"))
    previews = {spec.weights.adapter for file, spec in made.items() if spec and file.parent.name == last.name}
    assert previews and "" not in previews


def test_what_has_not_learned_ends_with_1_exports_nothing_and_the_page_opens_with_it(
    tiny_flux: Path, photos: Path, tmp_path: Path
):
    folder = tmp_path / "runs" / "mug"
    config = compose_config(settings(tiny_flux, photos, folder, "export.anyway=false"))
    assert run(config) == FELL_SHORT
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["status"], summary["chosen"]["passes"], summary["files"]) == ("done", False, [])
    assert summary["chosen"]["verdict"] == "nothing to ship"
    assert not (folder / "export").exists()
    page = (folder / "report.html").read_text()
    assert page.index("Nothing to ship") < page.index("<img")
    with pytest.raises(RunError, match="has nothing to ship") as refused:
        export_run(Run(config))
    assert "export.anyway=true" in refused.value.fix


@pytest.mark.filterwarnings("default")
def test_every_command_works_alone_on_a_run_folder(tiny_flux: Path, photos: Path, tmp_path: Path):
    run_dir = tmp_path / "runs" / "alone"
    steps = [
        command("check", *settings(tiny_flux, photos, run_dir)),
        command("train", *settings(tiny_flux, photos, run_dir, "preview.every=0")),
        command("evaluate", f"run={run_dir}", "evaluate.checkpoints=1"),
        command("export", f"run={run_dir}", "export.dtype=fp32", "export.name=cup"),
        command("inspect", f"file={run_dir}/export/cup.safetensors"),
    ]
    for step in steps:
        seen = subprocess.run(step, capture_output=True, text=True, env=ENVIRONMENT, check=False)
        assert seen.returncode == (FELL_SHORT if "evaluate" in step else 0), seen.stderr
    assert "zorb" in seen.stdout and "LoRA" in seen.stdout


def test_a_run_killed_in_the_middle_continues_to_the_very_same_adapter(tiny_flux: Path, photos: Path, tmp_path: Path):
    more = ("train.steps=40", "train.save_every=5", "preview.every=0", "train.caption_dropout=0.3")
    straight, killed = tmp_path / "runs" / "straight", tmp_path / "runs" / "killed"
    subprocess.run(command("train", *settings(tiny_flux, photos, straight, *more)), check=True, env=ENVIRONMENT)
    process = subprocess.Popen(command("train", *settings(tiny_flux, photos, killed, *more)), env=ENVIRONMENT)
    deadline = time.monotonic() + 120
    while not list((killed / "checkpoints").glob("step-*5")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "checkpoints" / "step-000040").exists(), "it was killed before its end"
    assert json.loads((killed / "summary.json").read_text())["status"] == "stopped"

    subprocess.run(command("train", *settings(tiny_flux, photos, killed, *more)), check=True, env=ENVIRONMENT)
    last = Path("checkpoints") / "step-000040"
    for name in ("adapter.safetensors", "optimizer.safetensors"):
        assert (killed / last / name).read_bytes() == (straight / last / name).read_bytes()
    lines = [json.loads(line) for line in (killed / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 41))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_is_asked_to_stop_saves_the_step_it_is_at(
    number: int, code: int, tiny_flux: Path, photos: Path, tmp_path: Path
):
    run_dir = tmp_path / "runs" / "mug"
    more = ("train.steps=20000", "train.save_every=20000", "preview.every=0")
    process = subprocess.Popen(command("train", *settings(tiny_flux, photos, run_dir, *more)), env=ENVIRONMENT)
    deadline = time.monotonic() + 120
    while not read_metrics(run_dir / "metrics.jsonl") and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(timeout=60) == code
    assert json.loads((run_dir / "summary.json").read_text())["status"] == "stopped"
    latest = latest_checkpoint(run_dir)
    assert latest and latest.step == read_metrics(run_dir / "metrics.jsonl")[-1]["step"] >= 1


def test_three_faults_get_one_message_and_nothing_is_written(tiny_flux: Path, photos: Path, tmp_path: Path):
    (photos / "photo_0.png").rename(photos / "broken.jpg")
    (photos / "photo_0.txt").rename(photos / "broken.txt")
    (photos / "broken.jpg").write_bytes((photos / "broken.jpg").read_bytes()[:60])
    (photos / "photo_1.txt").unlink()
    (photos / "photo_2.txt").write_text("a mug in the kitchen")
    before = sorted(tmp_path.rglob("*"))
    for verb in ("check", "train", "run"):
        seen = subprocess.run(
            command(verb, *settings(tiny_flux, photos, tmp_path / "runs" / "mug", "check.page=false")),
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
            check=False,
        )
        assert seen.returncode == 2
        said = seen.stdout if verb == "check" else seen.stderr
        for name in ("broken.jpg", "photo_1.png", "photo_2.png"):
            assert said.count(name) == 1, said
        assert "Traceback" not in seen.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.filterwarnings("default")
def test_going_on_with_other_settings_or_other_captions_is_refused(finished: Path, tiny_flux: Path, photos: Path):
    def again(*more: str) -> str:
        arguments = settings(tiny_flux, photos, finished, *more)
        seen = subprocess.run(
            command("train", *arguments), capture_output=True, text=True, env=ENVIRONMENT, check=False
        )
        assert seen.returncode == 2
        return seen.stderr

    assert "adapter.rank was 4 and is now 8" in again("adapter.rank=8", "adapter.alpha=8")
    (photos / "photo_3.txt").write_text("a zorb mug on another shelf")
    assert "have changed since" in again()


def test_warnings_stop_a_strict_run_with_exit_code_1(tiny_flux: Path, photos: Path, tmp_path: Path):
    shutil.copy(photos / "photo_1.png", photos / "photo_9.png")
    (photos / "photo_9.txt").write_text("a zorb mug in place number 1")
    arguments = settings(tiny_flux, photos, tmp_path / "runs" / "strict", "strict=true")
    seen = subprocess.run(command("train", *arguments), capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert seen.returncode == 1 and "photo_9.png" in seen.stderr
    assert not (tmp_path / "runs" / "strict" / "checkpoints").exists()
