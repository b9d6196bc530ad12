"""caption, with a vision-language model that is tiny and random: what is shown, what is written, what is left alone."""

from pathlib import Path

import pytest

from flux_lora.commands.caption import caption
from flux_lora.config.compose import compose_config
from tests.data.drawn_images import write_sample
from tests.data.tiny_vision import write_llava


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llava(tmp_path_factory.mktemp("llava"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_sample(tmp_path, "a.png", None)
    write_sample(tmp_path, "b.png", "a photo of a zorb mug by hand")
    return tmp_path


def asked(folder: Path, *knobs: str) -> int:
    named = ["recipe=product", "hardware=cpu", f"data.folder={folder}", "data.trigger=zorb", "data.class_word=mug"]
    return caption(compose_config([*named, "captioner.max_tokens=6", *knobs]))


def test_a_caption_is_shown_and_nothing_is_written_without_write(folder, model, capsys):
    assert asked(folder, f"captioner.model={model}") == 0
    told = capsys.readouterr().err
    assert "+a photo of a zorb mug, " in told
    assert "--- /dev/null" in told
    assert "captioner.write=true" in told
    assert not (folder / "a.txt").exists()


def test_with_write_the_caption_that_was_shown_is_in_the_file_and_the_one_by_hand_stays(folder, model, capsys):
    asked(folder, f"captioner.model={model}", "captioner.write=true")
    written = (folder / "a.txt").read_text().strip()
    assert f"+{written}" in capsys.readouterr().err
    assert written.startswith("a photo of a zorb mug, ")
    assert (folder / "b.txt").read_text() == "a photo of a zorb mug by hand"


def test_where_every_image_has_a_caption_no_model_is_opened(folder, capsys):
    (folder / "a.txt").write_text("a photo of a zorb mug on a shelf")
    assert asked(folder, "captioner.model=/no/such/model", "captioner.write=true") == 0
    assert "every image has a caption" in capsys.readouterr().err


def test_overwrite_describes_every_image_again(folder, model, capsys):
    asked(folder, f"captioner.model={model}", "captioner.write=true", "captioner.overwrite=true")
    assert "-a photo of a zorb mug by hand" in capsys.readouterr().err
    assert "by hand" not in (folder / "b.txt").read_text()
