"""The templates are what they preach: judged clean, drawn by the script, and never asked what they show."""

from pathlib import Path

import pytest

from flux_lora.config.choices import Severity
from flux_lora.config.compose import compose_config
from flux_lora.runs.dataset import read_dataset
from flux_lora.runs.run import Run
from scripts import make_templates
from scripts.mini.newcomers import NEWCOMERS

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("newcomer", make_templates.NEWCOMERS, ids=lambda each: each.kind)
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
    assert (len(material.samples), len(material.held_out)) == (make_templates.TRAINING, make_templates.HELD_OUT)


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
