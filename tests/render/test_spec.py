"""A spec says which images, and in which order."""

from dataclasses import replace

from flux_lora.render.spec import RenderSpec, Shot, Weights


def test_all_seeds_of_a_prompt_stand_together() -> None:
    spec = RenderSpec(prompts=("a", "b"), seeds=(1, 2), width=32, height=32, text_tokens=8)
    assert spec.shots() == (Shot("a", 1), Shot("a", 2), Shot("b", 1), Shot("b", 2))


def test_the_text_of_a_spec_is_what_names_of_class_images_have_always_been_made_of():
    """A field more in it is another name for each, other noise for preservation, and a run that cannot go on."""
    spec = RenderSpec(prompts=("a mug",), seeds=(1,), width=64, height=32, text_tokens=32)
    said = "prompts=('a mug',), seeds=(1,), width=64, height=32, text_tokens=32, steps=20, guidance=3.5"
    assert str(spec) == str(replace(spec, made_from="an image")) == f"RenderSpec({said})"


def test_what_is_made_from_an_image_is_another_image_and_what_is_not_has_the_key_it_had():
    weights = Weights(base="b", dtype="fp32")
    spec = RenderSpec(prompts=("a mug",), seeds=(1,), width=64, height=32, text_tokens=32)
    (plain,), (edited,) = spec.images(weights), replace(spec, made_from="an image").images(weights)
    assert plain.key != edited.key and "made_from" not in plain.to_json() and "an image" in edited.to_json()
