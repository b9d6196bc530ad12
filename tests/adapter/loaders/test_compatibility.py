"""The verdicts are those that the programs themselves gave when they were measured."""

import json

import pytest
import torch
from torch import Tensor

from flux_lora.adapter.layer_types import LoRA, lora_delta
from flux_lora.adapter.loaders.compatibility import LOADERS, compatibility
from tests.adapter.loaders.state_dicts import (
    ALPHA,
    ATTENTION,
    OUTSIDE,
    RANK,
    H,
    blocks,
    diffusers,
    everything,
    in_bfl_names,
    kohya,
    kohya_name,
    layers_of,
    told_in_metadata,
    written,
    xlabs,
)

ALL, PART, WRONG, NONE = "all", "part", "wrong", "none"
NAME = "transformer_blocks.0.attn.to_q"
FLAT = NAME.replace(".", "_")


def bfl(prefix: str, spelled: str, *, alpha: bool) -> dict[str, Tensor]:
    return written(in_bfl_names(blocks()), prefix.__add__, spelled, alpha=alpha)


def under(prefix: str, spelled: str = "down up") -> dict[str, Tensor]:
    return written(everything(), lambda name: prefix + name.replace(".", "_"), spelled, alpha=True)


def dora(ending: str, magnitude: Tensor) -> dict[str, Tensor]:
    if ending == "lora_magnitude_vector":
        return diffusers({NAME: everything()[NAME]}) | {f"transformer.{NAME}.{ending}": magnitude}
    return written({NAME: everything()[NAME]}, "transformer.{}".format, "AB", alpha=True) | {
        f"transformer.{NAME}.{ending}": magnitude
    }


def text(prefix: str, name: str, spelled: str) -> dict[str, Tensor]:
    layer = LoRA(torch.ones(RANK, H), torch.ones(H, RANK), ALPHA)
    return written({name: layer}, prefix.__add__, spelled, alpha=spelled != "AB")


LOKR = {"lokr_w1": torch.ones(2, 2), "lokr_w2": torch.ones(H // 2, H // 2), "alpha": torch.tensor(1.0)}
LOHA = {f"hada_w{n}_{side}": torch.ones(shape) for n in (1, 2) for side, shape in (("a", (H, 2)), ("b", (2, H)))}
CLIP = "text_model.encoder.layers.0.self_attn.q_proj"
T5 = "encoder.block.0.layer.0.SelfAttention.q"
FLAT_CLIP, FLAT_T5 = CLIP.replace(".", "_"), T5.replace(".", "_")
RAW = written(everything(), "transformer.{}".format, "AB", alpha=False)

MEASURED = {
    "diffusers, scale folded into B": (diffusers(everything()), (ALL, ALL, ALL, NONE)),
    "diffusers and .alpha keys": (
        written(everything(), "transformer.{}".format, "AB", alpha=True),
        (ALL, ALL, ALL, NONE),
    ),
    "bare diffusers": (written(everything(), str, "AB", alpha=False), (NONE, NONE, NONE, NONE)),
    "PEFT": (
        written(everything(), "base_model.model.{}".format, "AB", alpha=False),
        (NONE, NONE, NONE, NONE),
    ),
    "transformer. + lora_down/up + alpha": (
        written(everything(), "transformer.{}".format, "down up", alpha=True),
        (WRONG, NONE, ALL, NONE),
    ),
    "SimpleTuner comfyui": (
        written(everything(), "diffusion_model.{}".format, "AB", alpha=True),
        (NONE, NONE, NONE, NONE),
    ),
    "OneTrainer legacy, all layers": (under("lora_transformer_"), (NONE, NONE, ALL, NONE)),
    "OneTrainer legacy, attention only": (
        written(layers_of(ATTENTION), lambda name: "lora_transformer_" + name.replace(".", "_"), "down up", alpha=True),
        (ALL, NONE, ALL, NONE),
    ),
    "lora_unet_ + split q/k/v": (under("lora_unet_"), (NONE, NONE, NONE, NONE)),
    "lycoris_ + LoRA factors": (under("lycoris_"), (NONE, NONE, ALL, NONE)),
    "kohya fused, block layers": (kohya(blocks()), (ALL, ALL, ALL, ALL)),
    "kohya fused, all layers": (kohya(everything()), (PART, NONE, ALL, PART)),
    "kohya fused without alpha": (kohya(everything(), alpha=False), (PART, NONE, ALL, NONE)),
    "BFL dotted down/up + alpha": (bfl("diffusion_model.", "down up", alpha=True), (ALL, NONE, ALL, NONE)),
    "BFL dotted A/B + alpha": (bfl("diffusion_model.", "AB", alpha=True), (NONE, NONE, ALL, NONE)),
    "BFL dotted A/B": (bfl("diffusion_model.", "AB", alpha=False), (NONE, NONE, ALL, NONE)),
    "BFL bare A/B + alpha": (bfl("", "AB", alpha=True), (NONE, NONE, NONE, NONE)),
    "fal, not all blocks": (bfl("base_model.model.", "AB", alpha=False), (NONE, NONE, NONE, NONE)),
    "XLabs": (xlabs(blocks()), (ALL, ALL, NONE, NONE)),
    "LoKr transformer.": ({f"transformer.{NAME}.{key}": one for key, one in LOKR.items()}, (NONE, NONE, ALL, NONE)),
    "LoKr lycoris_": ({f"lycoris_{FLAT}.{key}": one for key, one in LOKR.items()}, (NONE, NONE, ALL, NONE)),
    "LoHa lycoris_": ({f"lycoris_{FLAT}.{key}": one for key, one in LOHA.items()}, (NONE, NONE, ALL, NONE)),
    "DoRA, PEFT": (dora("lora_magnitude_vector", torch.ones(H)), (ALL, ALL, WRONG, NONE)),
    "DoRA per output": (dora("dora_scale", torch.ones(H, 1)), (WRONG, WRONG, WRONG, NONE)),
    "DoRA per input": (dora("dora_scale", torch.ones(1, H)), (WRONG, WRONG, ALL, NONE)),
    "CLIP text_encoder.text_model.": (text("text_encoder.", CLIP, "AB"), (ALL, ALL, ALL, NONE)),
    "CLIP text_encoder.encoder.": (
        text("text_encoder.", CLIP.removeprefix("text_model."), "AB"),
        (ALL, NONE, NONE, NONE),
    ),
    "CLIP lora_te1_": (text("lora_te1_", FLAT_CLIP, "down up"), (ALL, ALL, ALL, ALL)),
    "CLIP lora_te_": (text("lora_te_", FLAT_CLIP, "down up"), (ALL, NONE, ALL, NONE)),
    "CLIP clip_l": (text("text_encoders.clip_l.transformer.", CLIP, "down up"), (ALL, NONE, ALL, NONE)),
    "T5 lora_te3_": (text("lora_te3_", FLAT_T5, "down up"), (NONE, NONE, ALL, ALL)),
    "T5 lora_te2_": (text("lora_te2_", FLAT_T5, "down up"), (NONE, NONE, ALL, NONE)),
    "T5 text_encoder_2.": (text("text_encoder_2.", T5, "AB"), (NONE, NONE, NONE, NONE)),
    "T5 t5xxl": (text("text_encoders.t5xxl.transformer.", T5, "down up"), (NONE, NONE, ALL, NONE)),
}
PROGRAMS = ("diffusers", "diffusers 0.32", "ComfyUI", "sd-scripts")


def found(tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> dict[str, str]:
    return {verdict.reader: verdict.takes for verdict in compatibility(tensors, metadata or {})}


@pytest.mark.parametrize("row", MEASURED, ids=str)
def test_a_verdict_is_what_was_measured(row: str):
    tensors, measured = MEASURED[row]
    takes = found(tensors)
    assert tuple(takes[program] for program in PROGRAMS) == measured


WHOLE = {
    "diffusers": (diffusers(everything()), everything()),
    "kohya": (kohya(everything()), everything()),
    "BFL": (bfl("diffusion_model.", "down up", alpha=True), blocks()),
    "OneTrainer": (MEASURED["OneTrainer legacy, attention only"][0], layers_of(ATTENTION)),
    "LyCORIS": (under("lycoris_"), everything()),
    "XLabs": (xlabs(blocks()), blocks()),
    "metadata": (RAW, everything()),
}


@pytest.mark.parametrize("row", WHOLE, ids=str)
def test_what_is_taken_is_what_was_trained(row: str):
    tensors, trained = WHOLE[row]
    readings = [
        reader.load(tensors, told_in_metadata() if row == "metadata" else {}, trained) for reader in LOADERS.values()
    ]
    taken = [change for reading in readings if not reading.wrong for change in reading.deltas.items()]
    assert taken
    for name, change in taken:
        assert isinstance(change, LoRA)
        torch.testing.assert_close(lora_delta(change), lora_delta(trained[name]))


def test_alpha_in_the_metadata_alone_is_right_only_in_recent_diffusers():
    takes = found(RAW, told_in_metadata())
    assert tuple(takes[program] for program in PROGRAMS) == (ALL, WRONG, WRONG, NONE)


def test_alpha_in_the_metadata_that_equals_the_rank_is_right_everywhere():
    takes = found(RAW, told_in_metadata(alpha=RANK))
    assert tuple(takes[program] for program in PROGRAMS) == (ALL, ALL, ALL, NONE)


def test_alpha_keys_count_for_programs_that_do_not_look_into_the_metadata():
    tensors = written(everything(), "transformer.{}".format, "AB", alpha=True)
    takes = found(tensors, told_in_metadata())
    assert tuple(takes[program] for program in PROGRAMS) == (NONE, ALL, ALL, NONE)
    reasons = {verdict.reader: verdict.reason for verdict in compatibility(tensors, told_in_metadata(alpha=3 * RANK))}
    assert f"applies strength {ALPHA / RANK:g} where 3 was trained" in reasons["ComfyUI"]


def test_a_part_of_every_module_is_another_change_and_not_a_part_of_the_file():
    takes = found(dora("magnitude", torch.ones(H)))
    assert tuple(takes[program] for program in PROGRAMS) == (WRONG, WRONG, WRONG, NONE)
    takes = found(kohya(blocks()) | {f"{kohya_name('double_blocks.0.img_attn.proj')}.dora_scale": torch.ones(1, H)})
    assert takes["sd-scripts"] == WRONG


@pytest.mark.parametrize(("shape", "verdict"), [((H, 1), WRONG), ((1, H), ALL)])
def test_a_lokr_with_a_magnitude_is_judged_as_a_lora_with_one(shape: tuple[int, int], verdict: str):
    tensors = {f"lycoris_{FLAT}.{key}": one for key, one in LOKR.items()}
    assert found(tensors | {f"lycoris_{FLAT}.dora_scale": torch.ones(shape)})["ComfyUI"] == verdict


def test_mixed_ranks_stop_an_older_diffusers_alone():
    mixed = diffusers(layers_of(ATTENTION)) | diffusers(layers_of(OUTSIDE, rank=4))
    takes = found(mixed)
    assert tuple(takes[program] for program in PROGRAMS) == (ALL, NONE, ALL, NONE)


def test_kohya_counts_what_is_lost_of_the_final_layer():
    reasons = {verdict.reader: verdict.reason for verdict in compatibility(kohya(everything()), {})}
    assert "takes 21 of 23 modules" in reasons["sd-scripts"]
    assert "final_layer" in reasons["sd-scripts"]


def test_a_torn_pair_stops_comfyui_and_is_named():
    tensors = {key: one for key, one in diffusers(blocks()).items() if key != f"transformer.{NAME}.lora_A.weight"}
    reasons = {verdict.reader: verdict.reason for verdict in compatibility(tensors, {})}
    assert f"transformer.{NAME}.lora_B.weight" in reasons["ComfyUI"]


def test_xlabs_is_read_by_comfyui_where_all_blocks_are_in_the_file():
    tensors = xlabs(blocks())
    for block, part in ((37, "single_blocks.37.processor.qkv_lora"), (18, "double_blocks.18.processor.qkv_lora2")):
        tensors |= {f"{part}.down.weight": torch.ones(2, H), f"{part}.up.weight": torch.full((3 * H, 2), block)}
    assert found(tensors)["ComfyUI"] == ALL


@pytest.mark.parametrize("told", ["", "[", "[]", "7", json.dumps({"transformer.lora_alpha": "x"}), "[" * 100_000])
def test_metadata_of_any_kind_is_survived(told: str):
    assert found(RAW, {"lora_adapter_metadata": told})["ComfyUI"] == ALL


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"transformer.x.lora_A.weight": torch.ones(2)},
        {f"transformer.{NAME}.lora_A.weight": torch.ones(()), f"transformer.{NAME}.lora_B.weight": torch.ones(())},
        {f"{kohya_name('double_blocks.0.img_attn.qkv')}.alpha": torch.ones(3)},
        {f"lycoris_{FLAT}.lokr_w1_a": torch.ones(0, 0), f"lycoris_{FLAT}.lokr_w2": torch.ones(())},
        {f"lycoris_{FLAT}.hada_w{n}_{side}": torch.ones(()) for n in (1, 2) for side in "ab"},
        {f"lora_unet_single_blocks_0_linear1.lora_{side}.weight": torch.ones(2, 2) for side in ("down", "up")},
        {".alpha": torch.ones(()), "": torch.ones(()), "\x1b[31m.lora_down.weight": torch.ones(())},
    ],
    ids=range(8),
)
def test_nonsense_gets_verdicts_too(tensors: dict[str, Tensor]):
    answers = compatibility(tensors, {})
    assert len(answers) == len(LOADERS)
    assert all(answer.reason.isprintable() for answer in answers)


def test_a_file_for_another_width_says_so():
    reasons = [verdict.reason for verdict in compatibility(diffusers(blocks()), {}) if verdict.takes == ALL]
    assert all("not as wide as FLUX.1" in reason for reason in reasons)


def test_oft_with_a_rescale_is_read_wrong_by_comfyui():
    """Measured: its loader takes the key, and its arithmetic leaves it out."""
    oft = {f"lycoris_{FLAT}.oft_blocks": torch.ones(2, 4, 4)}
    assert found(oft)["ComfyUI"] == ALL
    assert found(oft | {f"lycoris_{FLAT}.rescale": torch.ones(H)})["ComfyUI"] == WRONG


def test_rslora_in_the_metadata_is_half_the_strength_for_programs_that_do_not_look_there():
    raw = diffusers(layers_of(ATTENTION, rank=4))
    told = json.dumps({"transformer.r": 4, "transformer.lora_alpha": 4, "transformer.use_rslora": True})
    verdicts = {each.reader: each for each in compatibility(raw, {"lora_adapter_metadata": told})}
    assert [verdicts[program].takes for program in PROGRAMS] == [ALL, WRONG, WRONG, NONE]
    assert "applies strength 1 where 2 was trained" in verdicts["ComfyUI"].reason


def test_what_becomes_of_text_encoders_is_said_and_what_where_there_are_none():
    of_clip = text("lora_te1_", FLAT_CLIP, "down up") | text("lora_te3_", FLAT_T5, "down up")
    reasons = {each.reader: each.reason for each in compatibility(kohya(blocks()) | of_clip, {})}
    assert "1 of 2 layers of the text encoders are among them, and a pipeline without its" in reasons["diffusers"]
    assert "2 of 2 layers of the text encoders are among them, and LoraLoaderModelOnly leaves" in reasons["ComfyUI"]
    assert "2 of 2 layers of the text encoders are among them" in reasons["sd-scripts"]
    left = {each.reader: each.reason for each in compatibility(RAW | text("text_encoder_2.", T5, "AB"), {})}
    assert "of the text encoders it takes none of 1" in left["ComfyUI"]
    assert all("text encoders" not in each.reason for each in compatibility(RAW, {}))


GLORA = {f"{side}{n}.weight": torch.ones(shape) for n, shape in ((1, (H, 2)), (2, (2, H))) for side in "ab"}
UNDESCRIBED = {
    "GLoRA": (GLORA, (ALL, ALL)),
    "BOFT": ({"oft_blocks": torch.ones(3, 2, 4, 4)}, (ALL, NONE)),
    "OFT": ({"oft_blocks": torch.ones(2, 4, 4)}, (ALL, NONE)),
    "a whole weight": ({"diff": torch.ones(H, H)}, (ALL, ALL)),
    "a whole weight and its bias": ({"diff": torch.ones(H, H), "diff_b": torch.ones(H)}, (ALL, ALL)),
}


@pytest.mark.parametrize("kind", UNDESCRIBED)
def test_comfyui_reads_kinds_that_this_package_does_not_and_forge_knows_no_oft(kind: str):
    """By the two programs' sources: weight_adapter/ of the one, comfyui_lora_collection/ of the other."""
    tensors, measured = UNDESCRIBED[kind]
    takes = found({f"lycoris_{FLAT}.{ending}": tensor for ending, tensor in tensors.items()})
    assert (takes["ComfyUI"], takes["Forge"]) == measured
    assert (takes["diffusers"], takes["sd-scripts"]) == (NONE, NONE)


def test_a_bias_beside_a_lora_leaves_the_lora_as_it_was():
    tensors = {f"lycoris_{FLAT}.{key}": one for key, one in LOKR.items()} | {f"lycoris_{FLAT}.diff_b": torch.ones(H)}
    result = LOADERS["ComfyUI"].load(tensors, {}, everything())
    assert set(result.deltas) == {NAME} and not result.unused


def test_a_torn_glora_stops_comfyui_and_is_named():
    tensors = {f"lycoris_{FLAT}.{key}": one for key, one in GLORA.items() if key != "b2.weight"}
    reasons = {verdict.reader: verdict.reason for verdict in compatibility(tensors, {})}
    assert f"stops at lycoris_{FLAT}.a1.weight" in reasons["ComfyUI"]
