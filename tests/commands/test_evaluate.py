"""evaluate judges the checkpoints of a run, or a LoRA that any tool made."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from flux_lora.__main__ import answer, judging_a_file
from flux_lora.adapter.attach import adapter_of, attach
from flux_lora.adapter.files import write_dialect
from flux_lora.adapter.layer_types import Adapter, LoRA
from flux_lora.commands.terminal import FELL_SHORT
from flux_lora.errors import AdapterFileError
from flux_lora.models.family import ModelSource, Placement
from flux_lora.models.flux1.family import Flux1
from flux_lora.render.kept import spec_in
from flux_lora.render.spec import image_spec_from_json
from flux_lora.runs.comparison import read_judged_run
from flux_lora.runs.evaluation import rendered_images, specs_of_images
from tests import test_path
from tests.test_path import settings

photos = test_path.photos


@pytest.fixture
def adapter(tiny_flux: Path) -> Adapter:
    """A LoRA that changes what the base draws."""
    transformer = Flux1().load_transformer(ModelSource(str(tiny_flux)), Placement(torch.device("cpu"), torch.float32))
    layers = ["transformer_blocks.0.attn.to_q", "transformer_blocks.0.attn.to_k", "transformer_blocks.0.attn.to_v"]
    attach(transformer, layers, rank=2, alpha=2.0, generator=torch.Generator().manual_seed(0))
    changed = {
        name: LoRA(layer.down, torch.randn(layer.up.shape, generator=torch.Generator().manual_seed(1)), layer.alpha)
        for name, layer in adapter_of(transformer).layers.items()
    }
    return Adapter(changed)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("dialect", ["diffusers", "kohya", "peft"])
def test_a_lora_of_another_tool_is_judged_in_any_dialect(
    adapter: Adapter,
    tiny_flux: Path,
    photos: Path,
    tmp_path: Path,
    dialect: str,
):
    file = tmp_path / ("theirs" if dialect == "peft" else "theirs.safetensors")
    write_dialect(adapter, file, dialect=dialect, metadata={}, dtype=torch.float32)
    before = sorted(path.read_bytes() for path in tmp_path.rglob("theirs*") if path.is_file())
    folder = tmp_path / "runs" / "judged"
    words = settings(tiny_flux, photos, folder, f"adapter={file}", "evaluate.strengths=[0.5,1.0]")
    assert answer(["evaluate", *words]) == FELL_SHORT
    lines = (folder / "evaluation" / "scores.jsonl").read_text().splitlines()
    assert [(json.loads(line)["step"], json.loads(line)["strength"]) for line in lines] == [(0, 0.5), (0, 1.0)]
    assert "Nothing to ship" in (folder / "evaluation" / "report.html").read_text()
    assert before == sorted(path.read_bytes() for path in tmp_path.rglob("theirs*") if path.is_file())


def test_a_file_that_is_no_lora_is_named(tiny_flux: Path, photos: Path, tmp_path: Path):
    (tmp_path / "a.safetensors").write_bytes(b"no")
    with pytest.raises(AdapterFileError, match="a.safetensors"):
        answer(["evaluate", *settings(tiny_flux, photos, tmp_path / "r", f"adapter={tmp_path / 'a.safetensors'}")])
    assert not (tmp_path / "r").exists()


def test_a_file_gets_a_run_folder_of_its_own_unless_one_is_named():
    assert judging_a_file(["adapter=x/mug.safetensors"]) == [
        "evaluate.adapter=x/mug.safetensors",
        "run.dir=runs/judged-mug",
    ]
    assert judging_a_file(["run.dir=a", "adapter=b"]) == ["run.dir=a", "evaluate.adapter=b"]
    assert judging_a_file(["run=runs/demo"]) == ["run=runs/demo"]


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_the_scores_and_what_was_drawn_are_in_the_tracker(
    adapter: Adapter, tiny_flux: Path, photos: Path, tmp_path: Path
):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    file, folder = tmp_path / "theirs.safetensors", tmp_path / "runs" / "judged"
    write_dialect(adapter, file, dialect="diffusers", metadata={}, dtype=torch.float32)
    words = settings(tiny_flux, photos, folder, f"adapter={file}", "tracker=tensorboard", "evaluate.strengths=[0.5]")
    assert answer(["evaluate", *words]) == FELL_SHORT
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    line = json.loads((folder / "evaluation" / "scores.jsonl").read_text().splitlines()[0])
    kept = {tag: events.Scalars(tag)[0].value for tag in events.Tags()["scalars"]}
    assert kept["evaluation/leakage/0.5"] == pytest.approx(line["estimates"]["leakage"]["value"], abs=1e-6)
    assert {tag.split(":")[0] for tag in events.Tags()["images"]} == {"base", "chosen"}


def test_the_base_that_is_told_what_the_subject_looks_like_stands_beside_the_lora(
    adapter: Adapter, tiny_flux: Path, photos: Path, tmp_path: Path
):
    file, folder = tmp_path / "theirs.safetensors", tmp_path / "runs" / "judged"
    write_dialect(adapter, file, dialect="diffusers", metadata={}, dtype=torch.float32)
    words = settings(tiny_flux, photos, folder, f"adapter={file}", "evaluate.description=a red box with a white cap")
    assert answer(["evaluate", *words]) == FELL_SHORT
    page = (folder / "evaluation" / "report.html").read_text()
    assert "Without training, the base that is told “a red box with a white cap” reaches a likeness of" in page
    specs = [spec_in(image) for image in sorted((folder / "evaluation" / "described").glob("*.png"))]
    assert specs and all(spec and "a red box with a white cap" in spec.prompt for spec in specs)


def test_judging_again_with_fewer_seeds_takes_no_image_of_the_others(
    adapter: Adapter, tiny_flux: Path, photos: Path, tmp_path: Path
):
    file, folder = tmp_path / "theirs.safetensors", tmp_path / "runs" / "judged"
    write_dialect(adapter, file, dialect="diffusers", metadata={}, dtype=torch.float32)
    for seeds in (2, 1):
        words = settings(tiny_flux, photos, folder, f"adapter={file}", f"evaluate.seeds={seeds}")
        assert answer(["evaluate", *words]) == FELL_SHORT
    run = read_judged_run(folder)
    spec = run.record.spec
    assert len(spec.seeds) == 1
    made = specs_of_images(run.folder, "base", spec)
    shown = [image_spec_from_json(text) for text in made]
    assert [(each.prompt, each.seed) for each in shown if each] == [(shot.prompt, shot.seed) for shot in spec.shots()]
    assert len(rendered_images(run.folder, "base", spec)) == len(spec.prompts)
