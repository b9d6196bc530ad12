"""With vision-language models that are tiny and random: real classes, the real pipeline, no download."""

import json
from pathlib import Path

import pytest
from PIL import Image

from flux_lora.data.captioning.vision_model import PATTERNS, _broken_models_explained, captioner_folder, open_describer
from flux_lora.errors import ConfigError, ModelError
from tests.data.drawn_images import gradient
from tests.data.tiny_vision import WORDS, write_blip, write_llava, write_qwen

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llava(tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blip(tmp_path_factory.mktemp("blip"))


def test_a_model_that_is_chatted_with_describes_an_image_and_does_not_repeat_the_question(llava: Path):
    describe = open_describer(str(llava), "", prompt="describe it .", max_tokens=6)
    said = describe(gradient())
    assert 1 <= len(said.split()) <= 6
    assert set(said.split()) <= set(WORDS)
    assert said == describe(gradient())


def test_what_is_said_depends_on_the_image(llava: Path):
    describe = open_describer(str(llava), "", prompt="describe it .", max_tokens=6)
    assert len({describe(Image.new("RGB", (40, 40), colour)) for colour in ("red", "blue", "white", "black")}) > 1


def test_a_model_that_knows_no_chat_is_given_a_beginning_but_no_instruction(blip: Path):
    begun = open_describer(str(blip), "", prompt="a red cup", max_tokens=6)(gradient())
    assert begun.startswith("a red cup")
    told = open_describer(str(blip), "", prompt="Describe it.", max_tokens=6)(gradient())
    assert "describe" not in told.lower()


def test_a_model_that_knows_films_too_describes_images_with_or_without_torchvision(tmp_path: Path):
    describe = open_describer(str(write_qwen(tmp_path)), "", prompt="describe it .", max_tokens=6)
    said = describe(gradient())
    assert 1 <= len(said.split()) <= 6
    assert set(said.split()) <= set(WORDS)


def test_a_model_that_brings_code_is_refused(llava: Path, tmp_path: Path):
    config = json.loads((llava / "config.json").read_text())
    config |= {"model_type": "homemade", "auto_map": {"AutoConfig": "mine.Mine", "AutoModel": "mine.Mine"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "mine.py").write_text(f"open({str(tmp_path / 'was_run')!r}, 'w')")
    with pytest.raises(ModelError, match="cannot be opened"):
        open_describer(str(tmp_path), "", prompt="", max_tokens=6)
    assert not (tmp_path / "was_run").exists()


def test_pickled_weights_are_not_opened(llava: Path, tmp_path: Path):
    for file in llava.iterdir():
        name = "pytorch_model.bin" if file.suffix == ".safetensors" else file.name
        (tmp_path / name).write_bytes(file.read_bytes())
    with pytest.raises(ModelError, match="cannot be opened"):
        open_describer(str(tmp_path), "", prompt="", max_tokens=6)
    assert not [each for each in PATTERNS if each.endswith((".bin", ".py", ".pt", "*"))]


def test_a_folder_that_is_no_such_model_is_named(tmp_path: Path):
    with pytest.raises(ModelError, match="cannot be opened as a model that describes images"):
        open_describer(str(tmp_path), "", prompt="", max_tokens=6)


def test_a_torchvision_that_was_built_for_another_torch_is_named():
    """What transformers raises on any import beside one."""
    with pytest.raises(ModelError, match="built for another torch") as refusal, _broken_models_explained(Path("any")):
        raise ModuleNotFoundError("Could not import module 'Blip'.") from RuntimeError(
            "operator torchvision::nms does not exist"
        )
    assert "pip uninstall torchvision" in refusal.value.fix


@pytest.mark.parametrize("revision", ["", "main", "v1.0", COMMIT[:12]])
def test_a_model_from_the_hub_is_taken_at_one_commit_only(revision: str):
    with pytest.raises(ConfigError) as refusal:
        captioner_folder("someone/describer", revision)
    assert "captioner.revision" in refusal.value.problem
    assert "huggingface.co/someone/describer/commits" in refusal.value.fix


def test_a_hub_model_that_is_not_here_says_which_knob_to_turn():
    with pytest.raises(ModelError) as refusal:
        captioner_folder("someone/describer", COMMIT)
    assert "captioner.model" in refusal.value.fix


@pytest.mark.parametrize(("model", "error"), [("", ConfigError), ("/no/such/folder", ModelError)])
def test_a_model_that_is_not_named_or_not_there_is_said(model: str, error: type[Exception]):
    with pytest.raises(error, match=r"captioner\.model|is not a folder"):
        captioner_folder(model, "")
