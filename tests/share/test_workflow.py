"""The workflow says what the sampler does, in both of ComfyUI's forms, and its faults are found by name."""

import json
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux_lora.models.flux1.family import Flux1
from flux_lora.models.flux1.sampling import sampling_shift
from flux_lora.models.flux2.programs import BASE_4B, DEV_PIPELINE, DEV_RELEASE, programs_of
from flux_lora.models.flux3.programs import BASE as FLUX3_BASE
from flux_lora.models.flux3.programs import programs_of as flux3_programs_of
from flux_lora.models.mini import MINI
from flux_lora.models.pipeline_parts import load_scheduler
from flux_lora.render.spec import RenderSpec
from flux_lora.share.base_models import base_model, released
from flux_lora.share.nodes import NODES
from flux_lora.share.snippets import comfy_hint
from flux_lora.share.validate import workflow_faults
from flux_lora.share.workflow import text_to_image, to_api, to_canvas
from tests.share.example_models import DEV, SCHNELL

SPEC = RenderSpec(prompts=("p",), seeds=(1000,), width=1024, height=768, text_tokens=512, steps=28, guidance=3.5)
PARTS = DEV.programs.comfy
FLUX = text_to_image(DEV, "zubo.safetensors", "a zubo bottle", SPEC, strength=0.9)

KLEIN_4B = released(BASE_4B, programs_of(BASE_4B, "qwen_3_4b.safetensors"))
FLUX3 = released(FLUX3_BASE, flux3_programs_of(FLUX3_BASE, "Flux3"))
KLEIN = text_to_image(KLEIN_4B, "zubo.safetensors", "a zubo bottle", replace(SPEC, guidance=4.0))

FLUX2_DEV = released(DEV_RELEASE, programs_of(DEV_RELEASE, "mistral_3_small_flux2_bf16.safetensors", DEV_PIPELINE))

specs = st.builds(
    RenderSpec,
    prompts=st.tuples(st.text()),
    seeds=st.tuples(st.integers(0, 2**64 - 1)),
    width=st.integers(1, 1024).map(lambda blocks: 16 * blocks),
    height=st.integers(1, 1024).map(lambda blocks: 16 * blocks),
    text_tokens=st.sampled_from([32, 128, 256, 512]),
    steps=st.integers(1, 100),
    guidance=st.floats(0, 10),
    made_from=st.sampled_from(["", "an image"]),
)


@given(spec=specs, base=st.sampled_from([DEV, SCHNELL, KLEIN_4B, FLUX2_DEV, FLUX3]), strength=st.floats(-2, 2))
def test_whatever_is_drawn_both_forms_fit_the_table_of_nodes(spec, base, strength):
    nodes = text_to_image(base, "zubo.safetensors", spec.prompts[0], spec, strength=strength)
    assert workflow_faults(to_api(nodes)) == []
    assert workflow_faults(to_canvas(nodes, "# put the files there")) == []


def test_strength_prompt_and_settings_are_those_of_the_spec():
    inputs = {each["class_type"]: each["inputs"] for each in json.loads(to_api(FLUX)).values()}
    assert inputs["LoraLoaderModelOnly"] == {
        "lora_name": "zubo.safetensors",
        "strength_model": 0.9,
        "model": ["1", 0],
    }
    assert inputs["CLIPTextEncode"]["text"] == "a zubo bottle"
    assert inputs["BasicScheduler"]["steps"] == 28 and inputs["RandomNoise"]["noise_seed"] == 1000
    assert inputs["FluxGuidance"]["guidance"] == 3.5 and inputs["UNETLoader"]["unet_name"] == "flux1-dev.safetensors"
    assert (inputs["EmptySD3LatentImage"]["width"], inputs["EmptySD3LatentImage"]["height"]) == (1024, 768)
    assert (inputs["ModelSamplingFlux"]["width"], inputs["ModelSamplingFlux"]["height"]) == (1024, 768)
    assert inputs["T5TokenizerOptions"]["min_length"] == 512


def test_klein_is_drawn_with_the_nodes_and_files_of_comfyui_s_own_template():
    inputs = {each["class_type"]: each["inputs"] for each in json.loads(to_api(KLEIN)).values()}
    assert inputs["UNETLoader"]["unet_name"] == "flux-2-klein-base-4b.safetensors"
    assert inputs["CLIPLoader"] == {"clip_name": "qwen_3_4b.safetensors", "type": "flux2", "device": "default"}
    assert inputs["VAELoader"]["vae_name"] == "flux2-vae.safetensors"
    assert inputs["Flux2Scheduler"] == {"steps": 28, "width": 1024, "height": 768}
    assert inputs["CFGGuider"] == {"cfg": 4.0, "model": ["2", 0], "positive": ["6", 0], "negative": ["7", 0]}
    assert not inputs.keys() & {"FluxGuidance", "ModelSamplingFlux", "T5TokenizerOptions"}
    told = comfy_hint(KLEIN_4B, "zubo.safetensors", SPEC)
    assert "an empty one > negative; cfg 3.5" in told and "Flux2Scheduler" in told


def test_flux2_dev_is_drawn_with_embedded_guidance_as_in_comfyui_s_own_template():
    nodes = text_to_image(FLUX2_DEV, "zubo.safetensors", "a zubo bottle", replace(SPEC, guidance=4.0))
    inputs = {each["class_type"]: each["inputs"] for each in json.loads(to_api(nodes)).values()}
    assert inputs["UNETLoader"]["unet_name"] == "flux2_dev_fp8mixed.safetensors"
    assert inputs["CLIPLoader"]["clip_name"] == "mistral_3_small_flux2_bf16.safetensors"
    assert inputs["CLIPLoader"]["type"] == "flux2" and inputs["FluxGuidance"]["guidance"] == 4.0
    assert inputs["BasicGuider"] == {"model": ["2", 0], "conditioning": ["7", 0]}
    assert inputs["Flux2Scheduler"] == {"steps": 28, "width": 1024, "height": 768}
    assert not inputs.keys() & {"CFGGuider", "ModelSamplingFlux", "BasicScheduler"}


def test_flux3_is_drawn_with_the_nodes_files_and_settings_of_comfyui_s_own_template():
    spec = replace(SPEC, guidance=3.5, steps=50)
    nodes = text_to_image(FLUX3, "zubo.safetensors", "a zubo bottle", spec)
    inputs = {each["class_type"]: each["inputs"] for each in json.loads(to_api(nodes)).values()}
    assert inputs["UNETLoader"]["unet_name"] == "flux3-image-klein-base-bf16.safetensors"
    assert inputs["CLIPLoader"]["clip_name"] == "qwen3vl_4b_int8_convrot.safetensors"
    assert (inputs["CLIPLoader"]["type"], inputs["VAELoader"]["vae_name"]) == ("flux3", "flux2-vae.safetensors")
    assert inputs["BasicScheduler"] == {"scheduler": "simple", "steps": 50, "denoise": 1.0, "model": ["2", 0]}
    assert (inputs["KSamplerSelect"]["sampler_name"], inputs["CFGGuider"]["cfg"]) == ("euler", 3.5)
    assert "EmptyFlux2LatentImage" in inputs
    assert not inputs.keys() & {"FluxGuidance", "ModelSamplingFlux", "T5TokenizerOptions", "Flux2Scheduler"}
    told = comfy_hint(FLUX3, "zubo.safetensors", spec)
    assert "an empty one > negative; cfg 3.5." in told and "Sigmas by" not in told
    assert "was not tried" in told and "export.dialects=[diffusers,comfyui]" in told


def test_schnell_has_no_schedule_of_its_own_and_hears_the_length_that_comfyui_hears():
    spec = RenderSpec(prompts=("p",), seeds=(1,), width=512, height=512, text_tokens=256, steps=4, guidance=1.0)
    kinds = {each.kind for each in text_to_image(SCHNELL, "a.safetensors", "p", spec)}
    assert not kinds & {"ModelSamplingFlux", "T5TokenizerOptions"} and "LoraLoaderModelOnly" in kinds


def test_brackets_and_braces_of_a_prompt_stay_words():
    nodes = text_to_image(DEV, "a.safetensors", "a (red) {mug}", SPEC)
    (text,) = (each["inputs"]["text"] for each in json.loads(to_api(nodes)).values() if "text" in each["inputs"])
    assert text == r"a \(red\) {mug}", "the HTTP interface reads weights, and no choices"
    drawn = {each["type"]: each["widgets_values"] for each in json.loads(to_canvas(nodes, ""))["nodes"]}
    assert drawn["CLIPTextEncode"] == [r"a \(red\) \{mug\}"], "the editor reads both"


@pytest.mark.parametrize(("width", "height"), [(1024, 1024), (512, 512), (768, 1344), (128, 128)])
def test_the_schedule_is_moved_as_far_as_the_sampler_moves_it(width, height):
    per_token = (PARTS.max_shift - PARTS.base_shift) / (4096 - 256)
    comfy = PARTS.base_shift + per_token * (width * height / 256 - 256)
    assert math.exp(comfy) == pytest.approx(sampling_shift(load_scheduler(MINI), width, height))


def test_nodes_on_the_canvas_do_not_cover_each_other():
    drawn = json.loads(to_canvas(FLUX, "note"))["nodes"]
    for one in drawn:
        for other in drawn:
            apart = [
                one["pos"][axis] >= other["pos"][axis] + other["size"][axis]
                or other["pos"][axis] >= one["pos"][axis] + one["size"][axis]
                for axis in (0, 1)
            ]
            assert one is other or any(apart), (one["type"], other["type"])


def broken_api(change: Callable[[dict], object]) -> list[str]:
    contents = json.loads(to_api(FLUX))
    change(contents)
    return workflow_faults(json.dumps(contents))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda all: all["1"].update(class_type="UnetLoader"), "node 1 is a UnetLoader"),
        (lambda all: all["2"]["inputs"].update(strength=1), "(LoraLoaderModelOnly) has no input strength"),
        (lambda all: all["2"]["inputs"].pop("strength_model"), "lacks strength_model"),
        (lambda all: all["2"]["inputs"].update(strength_model=200), "from -100 to 100 as strength_model, not 200"),
        (lambda all: all["2"]["inputs"].update(model=["4", 0]), "takes MODEL as model and is given CLIP"),
        (lambda all: all["2"]["inputs"].update(model=["99", 0]), "there is no node 99"),
        (lambda all: all["2"]["inputs"].update(model=["1", 3]), "node 1 has no output 3"),
        (lambda all: all["2"]["inputs"].update(model=["3", 0]), "nodes 2, 3, 8, 11, 13, 15, 16 feed each other"),
        (lambda all: all["2"]["inputs"].pop("model"), "lacks model"),
        (lambda all: all["4"]["inputs"].update(type="flux1"), "takes one of sdxl, sd3, flux"),
        (lambda all: all["6"]["inputs"].update(text=5), "takes text as text, not 5"),
        (lambda all: all["11"]["inputs"].update(steps=0.5), "takes a whole number from 1 to 10000 as steps"),
        (lambda all: all["16"]["inputs"].pop("images"), "node 15 (VAEDecode) leads nowhere"),
        (lambda all: all.pop("16"), "no node keeps the image"),
    ],
)
def test_a_fault_in_the_api_form_is_named(change, said):
    assert any(said in fault for fault in broken_api(change)), broken_api(change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda nodes, _: nodes[1]["widgets_values"].reverse(), "as strength_model, not 'zubo.safetensors'"),
        (lambda nodes, _: nodes[1]["widgets_values"].pop(), "holds 1 values in 2 widgets"),
        (lambda nodes, _: nodes[8]["widgets_values"].pop(), "node 9 (RandomNoise) holds 1 values in 2 widgets"),
        (lambda nodes, _: nodes[8].update(widgets_values=[5, "maybe"]), "as control_after_generate, not 'maybe'"),
        (lambda nodes, _: nodes[1]["inputs"][0].update(link=None), "does not enter node 2 as MODEL"),
        (lambda nodes, _: nodes[0]["outputs"][0].update(links=[]), "does not leave node 1 as MODEL"),
        (lambda _, links: links.pop(), "node 16 (SaveImage) lacks images"),
        (lambda nodes, _: nodes.pop(0), "node 1 to node 2, and one is missing"),
        (lambda nodes, _: nodes[0].update(type="MyLoader"), "node 1 is a MyLoader"),
    ],
)
def test_a_fault_on_the_canvas_is_named(change, said):
    contents = json.loads(to_canvas(FLUX, ""))
    change(contents["nodes"], contents["links"])
    found = workflow_faults(json.dumps(contents))
    assert any(said in fault for fault in found), found


def test_every_node_of_the_table_is_used():
    edit = text_to_image(KLEIN_4B, "zubo.safetensors", "a zubo bottle", replace(SPEC, made_from="an image"))
    assert {each.kind for each in (*FLUX, *KLEIN, *edit)} == set(NODES)


def test_a_base_is_known_by_its_name_or_its_hub_id_and_any_other_by_what_it_says(tmp_path):
    assert base_model("FLUX.1-dev", "/models/FLUX.1-dev", "", Flux1()) == replace(DEV, place="/models/FLUX.1-dev")
    assert base_model("my copy", "black-forest-labs/FLUX.1-schnell", "", Flux1()) == SCHNELL
    other = base_model("Finer FLUX", "someone/finer-flux", "mit", Flux1())
    assert (other.hub, other.comfy, other.licence_id) == ("someone/finer-flux", "finer-flux.safetensors", "mit")
    mini = base_model("flux_lora mini", "mini", "apache-2.0", Flux1())
    assert mini.known_to_others == "mini" and base_model("own", "/home/me/own", "", Flux1()).known_to_others == "own"
    assert mini.hub == "" and not mini.non_commercial and DEV.non_commercial and DEV.licence_id == "other"
