"""Defects that were verified in other trainers, each with the tests that we do not have it.

A row: the trainers, what is wrong there, and the tests here. AIT is ai-toolkit, KOH sd-scripts, ST SimpleTuner, OT
OneTrainer, DP diffusion-pipe, MUS musubi-tuner, DS DiffSynth-Studio, DIF diffusers' scripts, FG fluxgym.
"""

import ast
import os
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import Generator

from flux_lora.adapter.attach import adapter_of, attach
from flux_lora.adapter.files import read_adapter, write_dialect
from flux_lora.adapter.layer_types import lora_delta
from flux_lora.config.choices import AdapterTargets
from flux_lora.config.compose import compose_config
from flux_lora.evaluate.held_out_loss import SIGMAS
from flux_lora.runs.auto_hardware import planner_of
from flux_lora.runs.plan import Way
from flux_lora.train import checkpoints
from tests.adapter.example_adapters import frozen_transformer, learned
from tests.tiny import flux1_layers
from tests.train.tiny_run import tiny_run

TESTS = Path(__file__).parent
HERE = "test_defects_of_others.py"
DEFECTS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "G1": (
        "KOH",
        "the four fixed timesteps of validation are never read for FLUX: they are drawn anew",
        ("evaluate/test_held_out_loss.py::test_the_same_steps_again_give_the_same_losses",),
    ),
    "G2": (
        "OT",
        "validation at one timestep, blind to composition and to texture",
        (
            "evaluate/test_held_out_loss.py::test_each_sigma_has_its_own_fall",
            f"{HERE}::test_the_held_out_loss_is_asked_from_texture_to_composition",
        ),
    ),
    "G3": (
        "KOH MUS DP DS FG ST",
        "the camera's orientation is ignored",
        ("data/images/test_decode.py::test_a_photo_is_upright_however_the_camera_was_held",),
    ),
    "G4": (
        "all but DP",
        "transparency is dropped, and the hidden matte is trained on",
        ("data/images/test_transparency.py::test_a_cut_out_lies_on_neutral_grey_and_its_matte_is_not_seen",),
    ),
    "G5": (
        "all that use Pillow",
        "16-bit grey becomes white",
        ("data/images/test_colour.py::test_a_dark_sixteen_bit_image_is_dark_and_not_white",),
    ),
    "G6": (
        "KOH",
        "the longest side is capped, so a 3:2 photo is trained at 0.72 megapixels",
        ("data/bucketing/test_limits.py::test_photos_of_common_shapes_keep_their_shape_and_their_megapixel",),
    ),
    "G7": (
        "FG",
        "no buckets: whatever is not square is cropped to a square",
        ("data/bucketing/test_limits.py::test_nothing_is_cropped_to_a_square_that_is_not_one",),
    ),
    "G8": (
        "AIT",
        "alpha is ignored for FLUX and not saved",
        (
            "adapter/test_attach.py::test_a_loaded_adapter_acts_like_the_changed_weights",
            f"{HERE}::test_alpha_counts_in_training_and_in_every_file",
        ),
    ),
    "G9": (
        "AIT",
        "a loss that is not a number becomes 0, and the run goes on and saves",
        (
            "train/test_learner.py::test_a_loss_that_is_not_finite_stops_before_anything_moves",
            "train/test_learner.py::test_a_gradient_that_is_not_finite_stops_though_the_loss_is_fine",
        ),
    ),
    "G10": (
        "AIT",
        "resumes the newest file by its date, with one optimizer.pt for all, written in place",
        (
            "train/test_checkpoints.py::test_half_written_folders_are_ignored_and_said",
            "train/test_checkpoints.py::test_a_resumed_run_ends_with_the_same_adapter_as_one_that_never_stopped",
            f"{HERE}::test_the_last_checkpoint_is_that_of_the_last_step_whatever_the_dates_of_files",
        ),
    ),
    "G11": (
        "AIT",
        "captions are split at commas, and get double blanks behind them",
        ("data/sources/test_text_files.py::test_all_lines_are_one_caption_and_nothing_inside_a_line_changes",),
    ),
    "G12": (
        "AIT",
        "each process trains on all of the data",
        ("data/test_batches.py::test_processes_together_see_the_batch_that_one_would",),
    ),
    "G13": (
        "AIT",
        "merging adds factors, and a strength acts squared",
        ("adapter/test_merge_resize.py::test_a_merge_is_the_sum_of_the_changes_each_at_its_strength",),
    ),
    "G14": ("MUS", "a resumed run counts its steps from 0", ("train/test_loop.py::test_a_continued_run_counts_on",)),
    "G15": (
        "MUS",
        "latents and embeddings that are not numbers are stored as 0",
        (
            "data/cache/test_encode.py::test_numbers_that_are_not_finite_are_refused_and_the_image_is_named",
            "data/cache/test_encode.py::test_a_caption_that_becomes_numbers_that_are_not_finite_is_named",
        ),
    ),
    "G16": (
        "KOH AIT ST DP",
        "an edited caption or image is trained from what was cached before",
        (
            "data/cache/test_encode.py::test_an_edited_caption_is_the_only_thing_encoded_again",
            "data/cache/test_encode.py::test_an_image_with_one_other_pixel_is_the_only_thing_encoded_again",
        ),
    ),
    "G17": (
        "ST",
        "a.png and a.jpg share a cache entry; colour profiles are thrown away",
        (
            "data/cache/test_encode.py::test_images_of_one_name_in_two_folders_are_two_images",
            "data/images/test_colour.py::test_the_files_own_colours_are_turned_into_srgb_and_the_profile_is_named",
        ),
    ),
    "G18": (
        "ST",
        "regularisation images work with LyCORIS only; accumulation is said to cost memory; a shift of 3 by default",
        (
            "data/test_batches.py::test_a_regularisation_image_counts_its_prior_loss_weight",
            f"{HERE}::test_accumulation_costs_no_memory_and_the_shift_is_what_the_recipe_says",
        ),
    ),
    "G19": (
        "DP",
        "LoKr is trained and fails when it is saved; the same images are dropped in every epoch; no samples",
        (
            "test_adapter_kinds_path.py::test_every_kind_is_trained_exported_proven_and_inspected",
            "test_adapter_kinds_path.py::test_what_the_chosen_file_cannot_hold_is_refused_first_with_one_that_can",
            "data/test_batch_order.py::test_an_epoch_shows_every_sample_exactly_as_often_as_it_should",
        ),
    ),
    "G20": (
        "DIF",
        "squares only, a crop that is drawn once, a text file that kills it, guidance 3.5 in training",
        (
            "data/bucketing/test_limits.py::test_nothing_is_cropped_to_a_square_that_is_not_one",
            "data/bucketing/test_plan.py::test_random_crops_differ_by_repeat_stay_with_the_seed_and_ask_for_no_company",
            "data/sources/test_folders.py::test_a_stray_text_file_is_listed_and_kills_nothing",
            "test_recipes.py::test_the_values_lie_within_what_practitioners_agree_on",
        ),
    ),
    "G21": (
        "DS",
        "one image a step, one schedule, an optimizer that starts anew",
        (
            "train/test_checkpoints.py::test_every_optimizer_goes_on_exactly_where_it_stopped",
            "train/test_optimizers.py::test_the_others_fall_from_the_peak_to_nothing",
        ),
    ),
    "G22": (
        "KOH",
        "defaults that its own page on FLUX tells to change",
        ("test_recipes.py::test_the_values_lie_within_what_practitioners_agree_on",),
    ),
    "G23": (
        "AIT",
        "a key with a typo is ignored",
        (
            "config/test_compose.py::test_a_typo_in_the_users_own_recipe_names_file_and_key",
            "config/test_error_messages.py::test_a_slip_is_answered_with_what_was_meant",
        ),
    ),
    "G24": (
        "KOH FG",
        "captions in .caption files by default, and only their first line",
        (
            "data/sources/test_folders.py::test_a_caption_file_of_either_ending_is_read",
            "data/sources/test_text_files.py::test_all_lines_are_one_caption_and_nothing_inside_a_line_changes",
        ),
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_has_a_test_that_is_there(defect: str):
    for place in DEFECTS[defect][2]:
        file, _, name = place.partition("::")
        tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, place


def test_none_of_the_24_is_left_out():
    assert list(DEFECTS) == [f"G{number}" for number in range(1, 25)]


def test_the_held_out_loss_is_asked_from_texture_to_composition():
    assert len(SIGMAS) >= 8 and min(SIGMAS) < 0.1 and max(SIGMAS) > 0.9
    assert max(after - before for before, after in zip(SIGMAS, SIGMAS[1:], strict=False)) < 0.2


@pytest.mark.parametrize("dialect", ["diffusers", "kohya", "comfyui", "onetrainer", "lycoris"])
def test_alpha_counts_in_training_and_in_every_file(dialect: str, tmp_path: Path):
    """alpha 1 at rank 4 acts a quarter as much as alpha 4, in the model and in whatever is written."""
    transformer = frozen_transformer()
    layers = flux1_layers(transformer, AdapterTargets.attention_mlp)
    quarter, whole = (
        learned(attach(transformer, layers, rank=4, alpha=alpha, generator=Generator().manual_seed(0)))
        for alpha in (1.0, 4.0)
    )
    held = adapter_of(transformer)
    assert {layer.scale for layer in held.layers.values()} == {1.0}
    file = write_dialect(quarter, tmp_path / "x.safetensors", dialect=dialect, metadata={}, dtype=torch.float32)
    read = read_adapter(file)
    for name, layer in whole.layers.items():
        torch.testing.assert_close(lora_delta(read.layers[name]), lora_delta(layer) / 4)


def test_the_last_checkpoint_is_that_of_the_last_step_whatever_the_dates_of_files(tmp_path: Path):
    run = tiny_run()
    for step in islice(run.steps(), 2):
        saved = checkpoints.save(tmp_path, step.number, run.learner)
    for file in saved.folder.iterdir():
        os.utime(file, (0, 0))
    os.utime(saved.folder, (0, 0))
    latest = checkpoints.latest_checkpoint(tmp_path)
    assert latest is not None and latest.step == 2


def test_accumulation_costs_no_memory_and_the_shift_is_what_the_recipe_says():
    words = ("recipe=character", "data.folder=photos", "data.trigger=zorb", "data.class_word=mug", "model=mini")
    once, often = (
        planner_of(compose_config([*words, f"train.gradient_accumulation_steps={times}"])).plan(Way()).stage("train")
        for times in (1, 8)
    )
    assert often.bytes == pytest.approx(once.bytes, rel=1e-3)
    train = compose_config(list(words)).train
    assert (train.shift, train.dynamic_shift) == (1.0, False)
