"""A spec says which images, and in which order."""

from flux_lora.render.spec import RenderSpec, Shot


def test_all_seeds_of_a_prompt_stand_together() -> None:
    spec = RenderSpec(prompts=("a", "b"), seeds=(1, 2), width=32, height=32, text_tokens=8)
    assert spec.shots() == (Shot("a", 1), Shot("a", 2), Shot("b", 1), Shot("b", 2))
