"""What is rounded away: the prediction against doing it, on the weights of mini."""

import math

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from flux_lora.adapter.layer_types import Adapter, LoRA, adapter_at_strength, lora_delta
from flux_lora.adapter.quantized_merge import Loss, forecast, forecast_in_words, measured_loss, predicted_loss
from flux_lora.models.mini import mini_folder
from flux_lora.models.quantization import FORMATS, format_of
from tests.adapter.deltas import drawn

MODULES = ("transformer_blocks.0.attn.to_v", "transformer_blocks.0.ff.net.2", "single_transformer_blocks.3.proj_out")
LOST_BOUND = {"fp8-e4m3": 0.04, "q8_0": 0.1, "nf4": 0.05, "q4_k": 0.08}
"""How far the prediction may be off, of 1: seen 0.026, 0.088, 0.042 and 0.059."""
NOISE_BOUND = {"fp8-e4m3": 0.08, "q8_0": 0.08, "nf4": 0.12, "q4_k": 0.4}
"""The same for noise, of its own size. Q4_K rounds its scales too, and they jump under the smallest changes."""


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    held = load_file(mini_folder() / "transformer" / "diffusion_pytorch_model.safetensors")
    return {name: held[f"{name}.weight"].float() for name in MODULES}


def adapter_of_size(weights: dict[str, Tensor], part: float, rank: int = 8) -> Adapter:
    """A LoRA whose change in each module is this part of the weight's own size."""
    layers = {}
    for at, (name, weight) in enumerate(weights.items()):
        layer = LoRA(drawn(rank, weight.shape[1], seed=at), drawn(weight.shape[0], rank, seed=at), float(rank))
        factor = part * weight.norm() / lora_delta(layer).norm()
        layers[name] = LoRA(layer.down, layer.up * factor, layer.alpha)
    return Adapter(layers)


@pytest.mark.parametrize("part", [0.003, 0.01, 0.03, 0.1, 0.5])
@pytest.mark.parametrize("name", FORMATS)
def test_the_forecast_holds_on_mini(weights: dict[str, Tensor], name: str, part: float):
    adapter = adapter_of_size(weights, part)
    said = forecast(adapter, weights.__getitem__, name)
    for module, layer in adapter.layers.items():
        seen = measured_loss(weights[module], lora_delta(layer), format_of(name))
        assert said.modules[module].lost == pytest.approx(seen.lost, abs=LOST_BOUND[name])
        assert said.modules[module].noise == pytest.approx(seen.noise, rel=NOISE_BOUND[name], abs=0.03)


@pytest.mark.parametrize("name", FORMATS)
def test_a_stronger_adapter_loses_less(weights: dict[str, Tensor], name: str):
    adapter = adapter_of_size(weights, 0.01)
    said = [
        forecast(adapter_at_strength(adapter, strength), weights.__getitem__, name).whole.lost
        for strength in (0.5, 1, 2, 50)
    ]
    assert said == sorted(said, reverse=True) and said[-1] < 0.01


def test_merging_before_rounding_keeps_the_effect_on_average(weights: dict[str, Tensor]):
    weight = weights[MODULES[1]]
    change = lora_delta(adapter_of_size(weights, 0.01).layers[MODULES[1]])
    act = format_of("fp8-e4m3").quantize
    kept = ((act(weight + change) - act(weight)) * change).sum() / change.square().sum()
    assert kept == pytest.approx(1.0, abs=0.05)


def test_the_whole_is_the_modules_weighted_by_their_changes(weights: dict[str, Tensor]):
    adapter = adapter_of_size(weights, 0.01)
    loud, *quiet = MODULES
    layers = {name: adapter_at_strength(adapter, 1.0 if name == loud else 1e-3).layers[name] for name in MODULES}
    said = forecast(Adapter(layers), weights.__getitem__, "fp8-e4m3")
    assert said.modules[quiet[0]].lost > 0.9
    assert said.whole.lost == pytest.approx(said.modules[loud].lost, abs=0.01)


def test_the_sentences_say_what_is_lost_and_what_to_do(weights: dict[str, Tensor]):
    weak = forecast(adapter_of_size(weights, 0.04), weights.__getitem__, "fp8-e4m3")
    strong = forecast(adapter_of_size(weights, 1.0), weights.__getitem__, "q8_0")
    assert forecast_in_words([strong, weak]) == (
        "Merged into a quantised base, this much of its effect is rounded away: nothing on q8_0, "
        f"about {round(100 * weak.whole.lost)} % on fp8-e4m3. A loader that keeps it apart loses nothing."
    )
    assert forecast_in_words([strong]).endswith("rounded away: nothing on q8_0.")


def test_far_below_half_a_step_all_is_lost_and_far_above_nothing():
    grid = format_of("fp8-e4m3").grid(torch.full((4, 256), 1.0))
    assert predicted_loss(0.01, grid).lost == pytest.approx(1.0, abs=1e-6)
    assert predicted_loss(10.0, grid).lost == pytest.approx(0.0, abs=1e-3)
    assert predicted_loss(0.0, grid) == Loss(0.0, 0.0)


def test_noise_is_the_root_of_step_times_size_where_changes_are_small():
    """E f (1 - f) is E |x| / step then, and E |x| = rms sqrt(2 / pi)."""
    step, rms = 1 / 8, 1e-4
    grid = format_of("fp8-e4m3").grid(torch.full((4, 256), 1.0))
    assert predicted_loss(rms, grid).noise == pytest.approx(math.sqrt(math.sqrt(2 / math.pi) * step / rms), rel=0.05)
