"""The templates are what they preach: judged clean, drawn by the script, and never asked what they show."""

from pathlib import Path

import pytest

from flux_lora.config.choices import Severity
from flux_lora.config.compose import compose_config
from flux_lora.runs.dataset import read_dataset
from flux_lora.runs.run import Run
from scripts import make_templates
from scripts.mini.newcomers import NEWCOMERS
from scripts.mini.world import COLOURS, TINTS

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("newcomer", (*make_templates.NEWCOMERS, make_templates.STYLE), ids=lambda each: each.kind)
def test_a_template_has_nothing_to_complain_about(newcomer: make_templates.Newcomer):
    config = compose_config(
        [
            "recipe=demo",
            f"data.folder={ROOT / 'data_templates' / newcomer.kind}",
            f"data.trigger={newcomer.trigger}",
            f"data.class_word={newcomer.class_word}",
            f"data.kind={newcomer.kind}",
        ]
    )
    material = read_dataset(Run(config))
    assert [str(each) for each in material.findings if each.severity is not Severity.note] == []
    count = make_templates.STYLE_TRAINING if newcomer == make_templates.STYLE else make_templates.TRAINING
    assert (len(material.samples), len(material.held_out)) == (count, make_templates.HELD_OUT)


def test_no_prompt_asks_for_what_an_image_of_the_style_shows_and_no_caption_says_its_colours():
    folder, style = ROOT / "data_templates" / "style", make_templates.STYLE
    captions = [file.read_text().strip() for file in folder.rglob(f"{style.trigger}*.txt")]
    shown = [caption.removeprefix(f"a {style.trigger} {style.class_word} of ") for caption in captions]
    asked = [line.partition(" of ")[2] for line in (folder / "prompts.txt").read_text().splitlines()]
    assert len(set(shown)) == len(captions) == make_templates.STYLE_TRAINING + make_templates.HELD_OUT
    assert not set(shown) & set(asked)
    assert not any(colour in caption.split() for caption in captions for colour in (*COLOURS, *TINTS))


@pytest.mark.parametrize("newcomer", make_templates.NEWCOMERS, ids=lambda each: each.kind)
def test_no_prompt_asks_for_a_scene_that_an_image_shows(newcomer: make_templates.Newcomer):
    folder = ROOT / "data_templates" / newcomer.kind
    shown = {
        file.read_text().split(newcomer.class_word, 1)[1].strip() for file in folder.rglob(f"{newcomer.trigger}*.txt")
    }
    prompts = [line for line in (folder / "prompts.txt").read_text().splitlines() if "{trigger}" in line]
    asked = [line.split("{class}", 1)[1].strip() for line in prompts if not line.startswith("#")]
    assert len(asked) == make_templates.PROMPTS
    assert not shown & set(asked)


def test_the_script_draws_the_very_images_that_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(make_templates, "TEMPLATES", tmp_path)
    make_templates.main()
    for file in tmp_path.rglob("*"):
        if file.is_file():
            kept = ROOT / "data_templates" / file.relative_to(tmp_path)
            assert file.read_bytes() == kept.read_bytes(), kept
    assert set(NEWCOMERS) == {newcomer.kind for newcomer in make_templates.NEWCOMERS}
