"""The whole path of an edit on tiny bases: pairs in, a proven file out whose program edits the held-out image."""

import json
import runpy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from flux_lora.adapter.header import read_header
from flux_lora.commands.run import run
from flux_lora.commands.terminal import FELL_SHORT
from flux_lora.config.compose import compose_config
from flux_lora.config.rules import without_effect
from flux_lora.data.batches import BatchOptions, apart_by_traits, batch_at
from flux_lora.data.cache.maintenance import named_in
from flux_lora.errors import ConfigError, DataError, RunError
from flux_lora.models.flux1.family import Flux1
from flux_lora.runs.dataset import read_dataset
from flux_lora.runs.encoding import encode_dataset
from flux_lora.runs.exporting import export_run
from flux_lora.runs.preflight import preflight
from flux_lora.runs.run import Run
from flux_lora.runs.training import train_adapter
from flux_lora.share.validate import workflow_faults
from flux_lora.train.checkpoints import complete_checkpoints
from flux_lora.train.reporters import read_metrics
from tests.data.drawn_pairs import grey, painted, scene, write_pair
from tests.edit_path import SAID, assert_program_draws_the_example, edit_settings, pairs_folder, two_references
from tests.family_path import assert_every_key_is_used, file_of
from tests.klein_base import write_klein
from tests.models.test_kontext import as_kontext

TOKENS = 96


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pairs_folder(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module", params=["dev", "kontext", "klein"])
def finished(
    request: pytest.FixtureRequest, tiny_flux: Path, pairs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run that went all the way on one family; a random base cannot learn, so nothing passes."""
    folder = tmp_path_factory.mktemp("runs") / request.param
    base = tmp_path_factory.mktemp(request.param) / "base"
    more = {
        "dev": lambda: ["model=flux_dev"],
        "kontext": lambda: ["model=flux_kontext", f"model.path={as_kontext(tiny_flux, base)}"],
        "klein": lambda: [
            "model=flux2_klein_4b",
            f"model.path={write_klein(base)}",
            f"model.max_sequence_length={TOKENS}",
            "data.resolution=96",  # its pipeline takes no image below 64
        ],
    }[request.param]()
    assert run(compose_config(edit_settings(tiny_flux, pairs, folder, *more))) == FELL_SHORT
    return folder


def test_pairs_become_a_file_of_which_diffusers_uses_every_key(finished: Path):
    (shipped,) = json.loads((finished / "summary.json").read_text())["files"]
    assert_every_key_is_used(finished, *(each["reader"] for each in shipped["verification"]["readers"]))
    assert file_of(finished).name == "edit.safetensors"


def test_the_program_beside_it_edits_the_held_out_image_as_the_card_shows(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert_program_draws_the_example(finished, tmp_path, monkeypatch)


def test_every_held_out_pair_is_judged_at_its_own_size_and_shown_on_the_page(finished: Path):
    scores = [json.loads(line) for line in (finished / "evaluation" / "scores.jsonl").read_text().splitlines()]
    assert {(each["step"], *each["estimates"]) for each in scores} == {
        (3, "edited", "untouched"),
        (6, "edited", "untouched"),
    }
    assert all(len(each["estimates"]["edited"]["each"]) == 2 for each in scores)
    page = (finished / "report.html").read_text()
    assert page.count("Wanted</div>") == 2 and SAID in page and "4 pairs" in page
    record = json.loads((finished / "evaluation" / "record.json").read_text())
    assert record["spec"]["width"] > record["spec"]["height"]
    card = (file_of(finished).parent / "README.md").read_text()
    assert "that edits an image" in card and "image-to-image" in card and "4 pairs" in card


def test_the_workflow_beside_it_shows_the_image_to_edit(finished: Path):
    workflow = (file_of(finished).parent / "workflow_api.json").read_text()
    assert workflow_faults(workflow) == workflow_faults((file_of(finished).parent / "workflow.json").read_text()) == []
    nodes = json.loads(workflow)
    shown = [name for name, node in nodes.items() if node["class_type"] == "ReferenceLatent"]
    assert {nodes[name]["inputs"]["latent"][0] for name in shown} == {"19"}
    assert nodes["18"]["inputs"]["image"] == "before.png"
    guided = next(node["inputs"] for node in nodes.values() if "Guider" in node["class_type"])
    if "negative" in guided:
        assert sorted(shown) == sorted(guided[side][0] for side in ("positive", "negative"))
    else:
        assert nodes[guided["conditioning"][0]]["inputs"]["conditioning"] == [shown[0], 0]


def test_previews_show_the_held_out_pairs(finished: Path):
    assert len(list((finished / "samples" / "step-000006").glob("*.png"))) == 2


def test_what_was_before_is_in_the_manifest_and_spared_by_prune(finished: Path):
    lines = [json.loads(line) for line in (finished / "dataset" / "manifest.jsonl").read_text().splitlines()]
    shown = [line for line in lines if "made_from" in line]
    assert len(shown) == 4
    assert {name for line in shown for name in line["references"]} <= named_in(finished / "dataset" / "manifest.jsonl")


@pytest.mark.parametrize("more", [[], ["data.reference_folders=[{pairs}/before]", "data.folder={pairs}/after"]])
def test_before_and_after_are_found_in_two_folders_or_by_the_one_that_is_named(
    tiny_flux: Path, pairs: Path, tmp_path: Path, more: list[str]
):
    asked = [each.format(pairs=pairs) for each in more]
    dataset = preflight(Run(compose_config(edit_settings(tiny_flux, pairs, tmp_path / "run", *asked))))
    assert len(dataset.samples) == 4
    assert all(sample.references == (pairs / "before" / sample.image.name,) for sample in dataset.samples)


def test_what_was_before_is_cropped_as_what_it_became(tiny_flux: Path, tmp_path: Path):
    """A reference that is the image itself has the latents of the image, whatever is cropped."""
    pairs = pairs_folder(tmp_path / "pairs", size=(150, 64))
    for after in (pairs / "after").glob("*.png"):
        after.write_bytes((pairs / "before" / after.name).read_bytes())
    opened = Run(compose_config(edit_settings(tiny_flux, pairs, tmp_path / "run", "data.max_crop=0.5")))
    encoded = encode_dataset(opened, preflight(opened)).encoded
    assert len(encoded) == 4
    for each in encoded:
        assert torch.equal(each.latent, each.references[0])


def test_a_step_shows_the_model_what_was_before_and_learns_what_it_became(
    tiny_flux: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    opened = Run(compose_config(edit_settings(tiny_flux, pairs, tmp_path / "run")))
    prepared = encode_dataset(opened, preflight(opened))
    seen: list[tuple[Tensor, ...]] = []
    usual = Flux1.velocity

    def watched(family: Flux1, transformer: torch.nn.Module, *, guidance: float):
        predict = usual(family, transformer, guidance=guidance)

        def velocity(noisy: Tensor, sigma: Tensor, embeds: object, /, *, references: tuple[Tensor, ...] = ()) -> Tensor:
            if noisy.requires_grad or torch.is_grad_enabled():
                seen.append(references)
            return predict(noisy, sigma, embeds, references=references)

        return velocity

    monkeypatch.setattr(Flux1, "velocity", watched)
    train_adapter(opened, prepared)
    before = [each.references[0] for each in prepared.encoded]
    assert len(seen) == 6
    for (references,) in seen:
        assert all(any(torch.equal(each, known) for known in before) for each in references)


def test_images_whose_references_have_other_sizes_share_no_batch(tiny_flux: Path, tmp_path: Path):
    folder = two_references(tmp_path / "pairs", 5)
    for number in (1, 3):
        image = folder / "two" / f"{number}.png"
        image.write_bytes((folder / "one" / f"{number}.png").read_bytes())
    more = ["model=flux2_klein_4b", f"model.path={write_klein(tmp_path / 'base')}", "model.max_sequence_length=96"]
    more += ["data.held_out_images=0", "train.batch_size=4"]
    opened = Run(compose_config(edit_settings(tiny_flux, folder, tmp_path / "run", *more)))
    prepared = encode_dataset(opened, preflight(opened))
    groups = apart_by_traits(prepared.dataset.planned.groups, prepared.encoded.traits())
    assert sorted(map(sorted, groups)) == [[0, 2, 4], [1, 3]]
    options = BatchOptions(batch_size=4, seed=0)
    for number in range(2):
        batch = batch_at(prepared.encoded, prepared.empty, options, groups, number)
        assert [len(each) for each in batch.references] == [len(batch.samples)] * 2
        for row, sample in enumerate(batch.samples):
            expected = prepared.encoded[sample].references
            assert all(torch.equal(batch.references[n][row], each) for n, each in enumerate(expected))


def test_a_run_of_an_edit_that_is_gone_on_with_takes_the_very_same_steps(tiny_flux: Path, pairs: Path, tmp_path: Path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder, lengths in ((whole, (6,)), (parts, (3, 6))):
        for steps in lengths:
            more = [f"train.steps={steps}", "train.lr_scheduler=constant", "preview.every=0"]
            opened = Run(compose_config(edit_settings(tiny_flux, pairs, folder, *more)))
            dataset = preflight(opened)
            opened.begin()
            train_adapter(opened, encode_dataset(opened, dataset))
    losses = [[line["loss"] for line in read_metrics(folder / "metrics.jsonl")] for folder in (whole, parts)]
    assert losses[0] == losses[1] and len(losses[0]) == 6
    ends = [complete_checkpoints(folder)[-1].adapter_file.read_bytes() for folder in (whole, parts)]
    assert ends[0] == ends[1]


def test_photos_are_no_pairs_and_pairs_no_photos(tiny_flux: Path, pairs: Path, tmp_path: Path):
    asked = edit_settings(tiny_flux, pairs / "after", tmp_path / "run", "data.held_out_images=0")
    with pytest.raises(DataError, match="holds no pairs"):
        preflight(Run(compose_config(asked)))
    subject = ["data.kind=product", "data.trigger=paint", "data.class_word=disc", "data.held_out_images=0"]
    table = two_references(tmp_path / "table")
    dataset = read_dataset(Run(compose_config([*edit_settings(tiny_flux, table, tmp_path / "run"), *subject])))
    assert any("recipe=edit trains on pairs" in remark for remark in dataset.remarks)
    assert not any(sample.references for sample in dataset.samples)


def test_held_out_images_without_what_they_were_are_refused_before_training(tiny_flux: Path, tmp_path: Path):
    table = two_references(tmp_path / "table")
    for name in ("a", "b"):
        (table / "held_out").mkdir(exist_ok=True)
        (table / "held_out" / f"{name}.png").write_bytes((table / "after" / "0.png").read_bytes())
    with pytest.raises(DataError, match="has nothing that says what it was before"):
        preflight(
            Run(
                compose_config(
                    edit_settings(tiny_flux, table, tmp_path / "run", "check.off=[{rule: held-out-twin, reason: x}]")
                )
            )
        )


def test_more_references_than_the_base_takes_are_refused(tiny_flux: Path, tmp_path: Path):
    table = two_references(tmp_path / "table")
    with pytest.raises(ConfigError, match="has 2 references, and FLUX.1 takes 1"):
        preflight(Run(compose_config(edit_settings(tiny_flux, table, tmp_path / "run", "data.held_out_images=0"))))


@pytest.mark.parametrize(
    "setting",
    [
        "train.preservation=1",
        "data.alpha=varied",
        "data.prompts=prompts.txt",
        "train.evaluate_every=3",
        "evaluate.description=a disc",
        "preview.prompts=[a disc]",
        "model.distilled=/some/where",
    ],
)
def test_what_an_edit_has_no_use_for_is_refused(tiny_flux: Path, pairs: Path, tmp_path: Path, setting: str):
    with pytest.raises(ConfigError, match=setting.partition("=")[0]):
        compose_config(edit_settings(tiny_flux, pairs, tmp_path / "run", setting))


def test_what_only_subjects_have_a_use_for_is_said(tiny_flux: Path, pairs: Path, tmp_path: Path):
    more = ["evaluate.max_leakage=0.5", "preview.size=64", "evaluate.checkpoints=3"]
    said = list(without_effect(compose_config(edit_settings(tiny_flux, pairs, tmp_path / "run", *more))))
    assert sorted(said) == ["evaluate.max_leakage does nothing for an edit", "preview.size does nothing for an edit"]


def test_reference_folders_without_an_edit_are_refused(tiny_flux: Path, pairs: Path, tmp_path: Path):
    asked = [*edit_settings(tiny_flux, pairs, tmp_path / "run"), "data.kind=product", "data.reference_folders=[a]"]
    with pytest.raises(ConfigError, match="data.reference_folders is for edits"):
        compose_config(asked)


def test_folders_that_are_named_go_before_the_one_called_before_and_held_out_pairs_may_lie_in_them(
    tiny_flux: Path, tmp_path: Path
):
    folder = pairs_folder(tmp_path / "pairs", held_out=0)
    (folder / "before").rename(folder / "pose")
    (folder / "before").mkdir()
    (folder / "held_out").mkdir()
    for name in ("pair_0", "pair_1"):
        (folder / "after" / f"{name}.png").rename(folder / "held_out" / f"{name}.png")
        (folder / "after" / f"{name}.txt").rename(folder / "held_out" / f"{name}.txt")
    named = [f"data.reference_folders=[{folder / 'pose'}]"]
    dataset = read_dataset(Run(compose_config(edit_settings(tiny_flux, folder, tmp_path / "run", *named))))
    assert {file.parent.name for each in (*dataset.samples, *dataset.held_out) for file in each.references} == {"pose"}
    assert (len(dataset.samples), len(dataset.held_out)) == (2, 2)
    assert not [finding for finding in dataset.findings if "reference" in finding.rule]


def test_edits_of_one_photo_are_held_out_or_trained_on_together(tiny_flux: Path, tmp_path: Path):
    lines = []
    for number in range(12):
        before = scene(number // 2, (96, 64))
        write_pair(tmp_path, f"{number}", None, painted(before) if number % 2 else grey(before))
        before.save(tmp_path / "before" / f"{number // 2}.png")
        names = {"file_name": f"after/{number}.png", "reference": f"before/{number // 2}.png"}
        lines.append(json.dumps({**names, "text": "paint it" if number % 2 else "make it grey"}))
    (tmp_path / "table.jsonl").write_text("\n".join(lines))
    asked = edit_settings(tiny_flux, tmp_path / "table.jsonl", tmp_path / "run", "data.held_out_images=3")
    dataset = read_dataset(Run(compose_config(asked)))
    trained, held_out = ({each.references[0] for each in some} for some in (dataset.samples, dataset.held_out))
    assert len(dataset.held_out) == 2 and not trained & held_out


def test_what_was_trained_and_not_judged_comes_with_an_image_to_edit_too(
    tiny_flux: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    opened = Run(compose_config(edit_settings(tiny_flux, pairs, tmp_path / "run", "train.steps=3", "preview.every=0")))
    dataset = preflight(opened)
    opened.begin()
    train_adapter(opened, encode_dataset(opened, dataset))
    file = export_run(opened).file
    assert SAID in (file.parent / "diffusers_example.py").read_text()
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(file.parent / "diffusers_example.py"))
    assert read_header(file).metadata["modelspec.trigger_phrase"] == SAID


def test_an_image_called_before_png_that_is_another_s_is_left_alone(tiny_flux: Path, pairs: Path, tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "before.png").write_bytes(b"mine")
    asked = edit_settings(tiny_flux, pairs, tmp_path / "run", f"export.dir={tmp_path / 'mine'}")
    with pytest.raises(RunError, match="before.png is there already"):
        run(compose_config(asked))
    assert (tmp_path / "mine" / "before.png").read_bytes() == b"mine"
