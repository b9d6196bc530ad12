"""What each kind of change adds to a weight: identities, and agreement with the libraries that train it."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import LoHaConfig, LoKrConfig, LoraConfig, get_peft_model
from torch import Tensor, nn

from flux_lora.adapter.dialects.module_tensors import delta_from_tensors, tensors_of_delta
from flux_lora.adapter.files import read_adapter, write_dialect
from flux_lora.adapter.layer_types import (
    OFT,
    Adapter,
    DoRA,
    LoHa,
    LoKr,
    LoRA,
    all_finite,
    at_strength,
    delta_of,
    type_name,
    within_norm,
)
from flux_lora.adapter.layer_types import map_tensors as on
from flux_lora.errors import AdapterFileError
from tests.adapter.deltas import INPUTS, KINDS, OUTPUTS, change, drawn, loha, lokr, lora, weight

each_kind = pytest.mark.parametrize("kind", KINDS)


@each_kind
def test_a_change_says_its_kind(kind: str):
    assert type_name(change(kind)) == kind


@each_kind
def test_every_change_is_float32_and_of_the_weight_s_shape(kind: str):
    delta = delta_of(on(change(kind), lambda tensor: tensor.bfloat16()), weight().bfloat16())
    assert delta.dtype == torch.float32 and delta.shape == (OUTPUTS, INPUTS)


@pytest.mark.parametrize("kind", ["DoRA", "OFT"])
def test_dora_and_oft_say_that_they_need_the_base(kind: str):
    with pytest.raises(AdapterFileError, match=f"what an? {kind} changes .* no base weight was given"):
        delta_of(change(kind))


@pytest.mark.parametrize("kind", ["LoRA", "LoKr", "LoHa"])
def test_strength_multiplies_the_change(kind: str):
    torch.testing.assert_close(delta_of(at_strength(change(kind), -0.3)), -0.3 * delta_of(change(kind)))


@pytest.mark.parametrize("kind", ["DoRA", "OFT"])
def test_dora_and_oft_are_refused_at_another_strength_than_one(kind: str):
    assert at_strength(change(kind), 1.0) is not None
    with pytest.raises(AdapterFileError, match=f"{kind} has no exact form at strength 0.5"):
        at_strength(change(kind), 0.5)


@each_kind
def test_acting_on_every_tensor_leaves_the_numbers_beside_them(kind: str):
    same = on(change(kind), lambda tensor: tensor.double().float())
    assert torch.equal(delta_of(same, weight()), delta_of(change(kind), weight()))


def test_lokr_is_scaled_only_where_a_factor_is_a_product():
    whole = LoKr(drawn(3, 2), None, None, drawn(4, 4), None, None, alpha=6.0)
    assert (whole.rank, whole.scale) == (0, 1.0)
    assert (lokr().rank, lokr().scale) == (2, 3.0)
    both = LoKr(None, drawn(3, 1), drawn(1, 2), None, drawn(4, 2), drawn(2, 4), alpha=6.0)
    assert both.scale == 3.0
    first = LoKr(None, drawn(3, 1), drawn(1, 2), drawn(4, 4), None, None, alpha=6.0)
    assert first.scale == 6.0


def test_dora_with_the_lengths_of_the_sum_is_the_lora_alone():
    for along, per_input in ((1, False), (0, True)):
        lengths = (weight() + delta_of(lora())).norm(dim=along)
        torch.testing.assert_close(delta_of(DoRA(lora(), lengths, per_input), weight()), delta_of(lora()))


def test_dora_gives_every_output_its_learned_length():
    magnitude = 1 + drawn(OUTPUTS).abs()
    after = weight() + delta_of(DoRA(lora(), magnitude), weight())
    torch.testing.assert_close(after.norm(dim=1), magnitude)


def test_oft_turns_the_outputs_and_changes_no_length():
    after = weight() + delta_of(change("OFT"), weight())
    torch.testing.assert_close(after.norm(), weight().norm())
    torch.testing.assert_close(after.unflatten(0, (4, 3)).norm(dim=1), weight().unflatten(0, (4, 3)).norm(dim=1))
    assert not delta_of(OFT(torch.zeros(4, 3, 3)), weight()).any()


@pytest.mark.parametrize("most", [0.0, 0.1, 1e6])
def test_a_constraint_cuts_the_norm_of_the_turn_and_no_more(most: float):
    blocks = drawn(4, 3, 3)
    skew, held = (each - each.transpose(1, 2) for each in (blocks, within_norm(blocks, most)))
    assert float(held.norm()) == pytest.approx(most if 0 < most < skew.norm() else float(skew.norm()))


def test_dora_agrees_with_peft():
    model = trained(LoraConfig(r=3, lora_alpha=6, target_modules=["0"], use_dora=True))
    held = parameters(model)
    ours = DoRA(LoRA(held["lora_A"], held["lora_B"], 6.0), held["lora_magnitude_vector"])
    torch.testing.assert_close(delta_of(ours, weight()), change_of(model))


def test_loha_agrees_with_peft():
    model = trained(LoHaConfig(r=2, alpha=6, target_modules=["0"]))
    held = parameters(model)
    ours = LoHa(held["hada_w1_a"], held["hada_w1_b"], held["hada_w2_a"], held["hada_w2_b"], alpha=6.0)
    torch.testing.assert_close(delta_of(ours), change_of(model))


def test_lokr_agrees_with_peft_where_a_factor_is_a_product():
    model = trained(LoKrConfig(r=1, alpha=6, target_modules=["0"], decompose_factor=2))
    held = parameters(model)
    ours = LoKr(held["lokr_w1"], None, None, None, held["lokr_w2_a"], held["lokr_w2_b"], alpha=6.0)
    torch.testing.assert_close(delta_of(ours), change_of(model))


@pytest.mark.parametrize("constraint", [0, 0.001, 0.01, 5.0])
@pytest.mark.parametrize("rescaled", [False, True])
def test_an_oft_file_of_lycoris_acts_as_in_lycoris_and_so_does_ours_there(constraint: float, rescaled: bool):
    oft = pytest.importorskip("lycoris.modules.diag_oft", exc_type=ImportError)
    theirs = oft.DiagOFTModule("x", linear(), lora_dim=3, constraint=constraint, rescaled=rescaled)
    theirs.oft_blocks.data = 0.1 * drawn(*theirs.oft_blocks.shape)
    if rescaled:
        theirs.rescale.data = 1 + 0.1 * drawn(OUTPUTS, 1)
    wanted = theirs.get_merged_weight()[0].data - weight()
    read = delta_from_tensors(
        "x", {name: tensor.data for name, tensor in theirs.state_dict().items() if "org" not in name}
    )
    torch.testing.assert_close(delta_of(read, weight()), wanted)
    written = tensors_of_delta(read)
    given = (written["oft_blocks"], written.get("rescale"), written["alpha"])
    with torch.no_grad():
        again = oft.DiagOFTModule.make_module_from_state_dict("x", linear(), *given)
    torch.testing.assert_close(again.get_merged_weight()[0].data - weight(), wanted)


@pytest.mark.parametrize("per_output", [True, False])
def test_dora_agrees_with_lycoris_along_outputs_and_inputs(per_output: bool):
    locon = pytest.importorskip("lycoris.modules.locon", exc_type=ImportError)
    theirs = locon.LoConModule("x", linear(), lora_dim=3, alpha=6, weight_decompose=True, wd_on_out=per_output)
    theirs.lora_up.weight.data, theirs.lora_down.weight.data = lora().up, lora().down
    theirs.dora_scale.data = 1 + drawn(*theirs.dora_scale.shape).abs()
    ours = delta_of(DoRA(lora(), theirs.dora_scale.data.flatten(), not per_output), weight())
    torch.testing.assert_close(ours, theirs.get_merged_weight()[0].data - weight())


def test_a_loha_in_half_precision_is_reckoned_in_full():
    half = on(loha(), lambda tensor: tensor.half())
    assert delta_of(replace(half, alpha=1e6)).isfinite().all()


def linear() -> nn.Linear:
    layer = nn.Linear(INPUTS, OUTPUTS, bias=False)
    layer.weight.data = weight()
    return layer


def trained(settings: LoraConfig | LoHaConfig | LoKrConfig) -> nn.Module:
    """A model of one linear layer with every adapter parameter at some random value."""
    model = get_peft_model(nn.Sequential(linear()), settings)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.data = drawn(*parameter.shape, seed=len(name))
    return model


def parameters(model: nn.Module) -> dict[str, Tensor]:
    """The adapter's own, each by its kind: base_model.model.0.lora_A.default.weight is lora_A."""
    return {name.split(".")[3]: held.data for name, held in model.named_parameters() if "default" in name}


@torch.no_grad()
def change_of(model: nn.Module) -> Tensor:
    """What the model's answers to the unit vectors say its weight has become, less what it was."""
    return model.eval()(torch.eye(INPUTS)).T - weight()


def test_a_dora_in_16_bits_changes_the_weight_as_the_one_it_was_written_from(tmp_path: Path):
    width, rank = 256, 4
    weight_OI, down, up = drawn(width, width) / 16, drawn(rank, width) / 16, drawn(width, rank) * 0.005
    lengths = (weight_OI + up @ down).norm(dim=1)
    trained = DoRA(LoRA(down, up, float(rank)), lengths * (1 + 0.01 * drawn(width)))
    name = "transformer_blocks.0.attn.to_q"
    file = tmp_path / "dora.safetensors"
    write_dialect(Adapter({name: trained}), file, dialect="lycoris", metadata={}, dtype=torch.bfloat16)
    before, after = (delta_of(each, weight_OI) for each in (trained, read_adapter(file).deltas[name]))
    assert float((after - before).norm() / before.norm()) < 0.01


@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.float8_e5m2, torch.float8_e4m3fn]
)
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_one_number_that_is_not_finite_is_seen_among_many(dtype: torch.dtype, number: float):
    numbers = torch.linspace(-2, 2, 300).reshape(3, 100)
    assert all_finite(numbers.to(dtype))
    numbers[1, 17] = number
    assert all_finite(numbers.to(dtype)) == bool(numbers.to(dtype).float().isfinite().all())


def test_no_numbers_and_whole_numbers_are_finite():
    assert all_finite(torch.zeros(0, 4)) and all_finite(torch.tensor([1, 2]))
