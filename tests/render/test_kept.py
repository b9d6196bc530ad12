"""Images say how they were made, and none is rendered twice."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from flux_lora.models.family import ModelSource, Pipeline, Placement, PromptEmbeds
from flux_lora.models.flux1.family import Flux1
from flux_lora.models.flux1.load import load_text_encoders
from flux_lora.models.flux1.text import encode_text
from flux_lora.render.kept import image_file, render_kept, save_image, spec_in
from flux_lora.render.pipeline import render
from flux_lora.render.spec import ImageSpec, RenderSpec, Weights, image_spec_from_json

SPEC = RenderSpec(prompts=("a red cube", "rain"), seeds=(7, 8), width=48, height=32, text_tokens=32, steps=2)
BASE = Weights(base="b", dtype="fp32")

image_specs = st.builds(
    ImageSpec,
    prompt=st.text(),
    seed=st.integers(0, 2**63),
    width=st.integers(16, 4096),
    height=st.integers(16, 4096),
    text_tokens=st.integers(1, 512),
    steps=st.integers(1, 100),
    guidance=st.floats(0, 10),
    negative=st.text(),
    weights=st.builds(Weights, base=st.text(), dtype=st.text(), adapter=st.text(), strength=st.floats(-2, 2)),
)


class Counted:
    """Draws a spec, and says which shots were really rendered."""

    def __init__(self, pipeline: Pipeline, embeds: list[PromptEmbeds]) -> None:
        self.calls: list[tuple[int, ...]] = []
        self._render = partial(render, pipeline, embeds, SPEC)

    def __call__(self, numbers: Sequence[int]) -> list[Image.Image]:
        self.calls.append(tuple(numbers))
        return self._render(numbers)


@pytest.fixture
def counted(tiny_flux: Path) -> Counted:
    pipeline = Flux1().load_pipeline(ModelSource(str(tiny_flux)), Placement(torch.device("cpu"), torch.float32))
    text_encoders = load_text_encoders(str(tiny_flux))
    return Counted(pipeline, [encode_text(text_encoders, [prompt], SPEC.text_tokens) for prompt in SPEC.prompts])


@given(image_specs)
def test_a_spec_comes_back_from_its_text(spec: ImageSpec):
    assert image_spec_from_json(spec.to_json()) == spec


@given(image_specs, image_specs)
def test_two_specs_have_one_key_only_if_they_are_equal(one: ImageSpec, other: ImageSpec):
    assert (one.key == other.key) == (one == other)


def test_an_image_tells_how_it_was_made_and_another_png_tells_nothing(tmp_path: Path):
    spec = SPEC.images(BASE)[0]
    save_image(Image.new("RGB", (8, 8)), tmp_path / "a.png", spec)
    Image.new("RGB", (8, 8)).save(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert spec_in(tmp_path / "a.png") == spec
    assert spec_in(tmp_path / "b.png") is spec_in(tmp_path / "c.png") is spec_in(tmp_path / "d.png") is None


def test_what_is_kept_is_not_rendered_again_and_what_was_made_otherwise_is(counted: Counted, tmp_path: Path):
    first = render_kept(counted, SPEC, BASE, tmp_path, numbers=(0, 2))
    everything = render_kept(counted, SPEC, BASE, tmp_path)
    again = render_kept(counted, SPEC, BASE, tmp_path)
    render_kept(counted, SPEC, replace(BASE, strength=0.5), tmp_path, numbers=(3,))
    assert counted.calls == [(0, 2), (1, 3), (), (3,)]
    assert [np.array_equal(a, b) for a, b in zip(everything, again, strict=True)] == [True] * 4
    assert np.array_equal(first[1], everything[2])


def test_a_file_that_was_cut_off_is_rendered_again(counted: Counted, tmp_path: Path):
    whole = render_kept(counted, SPEC, BASE, tmp_path)
    file = image_file(tmp_path, SPEC, 1)
    file.write_bytes(file.read_bytes()[:60])
    assert np.array_equal(render_kept(counted, SPEC, BASE, tmp_path)[1], whole[1])


def test_files_sorted_by_name_stand_in_the_order_of_the_shots(tmp_path: Path):
    wide = replace(SPEC, prompts=tuple(map(str, range(12))), seeds=tuple(range(11)))
    files = [image_file(tmp_path, wide, number) for number in range(len(wide.shots()))]
    assert files == sorted(files)
