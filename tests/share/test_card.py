"""The model card is what the hub expects, and says what was measured, whatever words are in it."""

import ast
from dataclasses import replace

import yaml
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st

from flux_lora.models.flux1.family import Flux1
from flux_lora.models.mini import MINI
from flux_lora.share.base_models import base_model
from flux_lora.share.card import IMAGES, as_code, card_of, fenced, plain
from flux_lora.share.write import write_companions
from tests.share.example_models import PRODUCT, SCHNELL, SPEC, product_in

words = st.text(min_size=1, max_size=40).filter(lambda text: text.strip())


def test_the_front_matter_tells_the_hub_what_it_is(tmp_path):
    card = ModelCard(card_of(product_in(tmp_path / "export", repo="someone/zubo")))
    metadata = card.data.to_dict()
    assert metadata["base_model"] == "black-forest-labs/FLUX.1-dev" and metadata["base_model_relation"] == "adapter"
    assert metadata["instance_prompt"] == "zubo" and metadata["pipeline_tag"] == "text-to-image"
    assert metadata["library_name"] == "diffusers" and "lora" in metadata["tags"]
    assert (metadata["license"], metadata["license_name"]) == ("other", "flux-1-dev-non-commercial-license")
    assert metadata["license_link"].startswith("https://huggingface.co/black-forest-labs/FLUX.1-dev/")
    assert metadata["widget"] == [
        {"text": prompt, "output": {"url": f"{IMAGES}/0{number}.png"}} for number, prompt in enumerate(SPEC.prompts)
    ]


def test_the_text_says_the_scores_how_they_were_measured_and_the_limits():
    text = card_of(PRODUCT)
    for line in (
        "| Likeness | 86 % | 81 % to 91 % |",
        "| Leakage | 6 % | 4 % to 9 % |",
        "16 prompts with 2 seeds each",
        "4 photos that training never saw",
        "Likeness says little here.",
        "non-commercial licence",
        "about 9 % of the effect is rounded away",
        "`zubo_kohya.safetensors` | sd-scripts, Forge",
        "16 photos at 1024 x 1024 pixels, 1500 steps of 1, learning rate 0.0001",
    ):
        assert line in text
    assert "It was not measured." in card_of(replace(PRODUCT, scores=None))


def test_a_free_licence_is_told_by_its_id_and_a_base_off_the_hub_has_no_link():
    free = ModelCard(card_of(replace(PRODUCT, base=SCHNELL))).data.to_dict()
    assert free["license"] == "apache-2.0" and "license_link" not in free and "license_name" not in free
    own = replace(PRODUCT, base=base_model("my base", "/home/me/my-base", "mit", Flux1()), repo="someone/zubo")
    assert "base_model" not in ModelCard(card_of(own)).data.to_dict()
    assert "/home/me" not in card_of(own), "a folder of this machine is nobody else's business"


def test_the_card_of_a_lora_for_mini_does_not_send_people_to_comfyui():
    mini = replace(PRODUCT, base=base_model("flux_lora mini", MINI, "apache-2.0", Flux1()))
    assert "**ComfyUI** cannot load flux\\_lora mini" in card_of(mini) and "| diffusers |" in card_of(mini)
    assert "`ComfyUI/models/loras` and drop" in card_of(PRODUCT) and "| diffusers, ComfyUI |" in card_of(PRODUCT)


def test_the_program_in_the_card_is_one_and_names_the_repository():
    text = card_of(replace(PRODUCT, repo="someone/zubo"))
    program = text.split("```python\n")[1].split("\n```")[0]
    ast.parse(program)
    assert "load_lora_weights('someone/zubo', weight_name='zubo.safetensors'" in program


@given(title=words, trigger=words, prompt=words, doubt=words)
@settings(max_examples=60)
def test_no_words_can_break_the_card(title, trigger, prompt, doubt):
    assert PRODUCT.scores is not None
    text = card_of(
        replace(
            PRODUCT,
            title=title,
            trigger=trigger,
            spec=replace(SPEC, prompts=(prompt,)),
            scores=replace(PRODUCT.scores, doubts=(doubt,)),
        )
    )
    front = text.split("\n---\n")[0].removeprefix("---\n")
    assert yaml.safe_load(front)["instance_prompt"] == trigger
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings == [
        "## How to use it",
        "## How well it learned",
        "## How it was trained",
        "## What it is for, and its limits",
    ]


def test_markup_in_words_is_taken_out_and_code_may_hold_any_ticks():
    assert plain("a *b* <img> [x](y)\n# c") == r"a \*b\* &lt;img&gt; \[x\]\(y\) \# c"
    assert as_code("a `b`") == "`` a `b` ``"
    assert fenced("x = '```'", "python") == "````python\nx = '```'\n````"


def test_sizes_and_images_of_a_step_are_those_of_the_recipe_and_unjudged_files_claim_no_choice(tmp_path):
    product = product_in(tmp_path)
    several = replace(product.training, resolutions=(768, 512), batch_size=4)
    card = card_of(replace(product, training=several))
    assert "16 photos at 768 x 768 and 512 x 512 pixels, 1500 steps of 4" in card
    assert "already in the weights" in card and "is what the images were made with" in card
    unjudged = card_of(replace(product, scores=None, images=()))
    assert "already in the weights" not in unjudged and "made with\n" not in unjudged
    assert "is a good start" in unjudged


def test_a_file_that_a_program_does_not_read_comes_without_its_program(tmp_path):
    """A LoKr once came with a diffusers program that stops at its first line."""
    lokr = replace(product_in(tmp_path), readers=("ComfyUI", "Forge"))
    card = card_of(lokr)
    assert "**diffusers** does not read this kind of file" in card and "load_lora_weights" not in card
    names = {file.name for file in write_companions(tmp_path, lokr)}
    assert "workflow.json" in names and "diffusers_example.py" not in names
    xlabs = replace(lokr, readers=("diffusers",))
    assert "**ComfyUI** does not read this kind of file" in card_of(xlabs)
    (tmp_path / "workflow.json").unlink()
    assert "workflow.json" not in {file.name for file in write_companions(tmp_path, xlabs)}
