"""What a run will take is said before it starts, and the fastest way that fits is taken."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import nn

from flux_lora.adapter.attach import attach
from flux_lora.adapter.layer_types import Adapter, LoRA, tensors_in
from flux_lora.commands.plan import plan
from flux_lora.config.choices import AdapterKind, ComputeDtype, OptimizerName, Quantization
from flux_lora.config.compose import compose_config
from flux_lora.config.schema import RunConfig
from flux_lora.errors import ConfigError
from flux_lora.models.counting import bytes_of
from flux_lora.models.flux1.load import load_transformer
from flux_lora.models.frozen_linear import Nf4Linear
from flux_lora.models.mini import MINI
from flux_lora.runs.auto_hardware import (
    fastest,
    planner_of,
    possible_ways,
    settled,
    settled_to_render,
    smaller_recipes,
)
from flux_lora.runs.plan import GIB, Planner, Way
from flux_lora.runs.run import Silent

WORDS = ("data.folder=photos", "data.trigger=zorb", "data.class_word=mug")


@cache
def recipe(*words: str) -> RunConfig:
    return compose_config(["recipe=product", *WORDS, *words])


@cache
def planner(*words: str) -> Planner:
    return planner_of(recipe(*words))


@pytest.mark.parametrize("card", [12, 16, 24, 48, 80])
def test_the_product_recipe_fits_every_card_by_the_fastest_way_that_does(card: int):
    ways = possible_ways(planner())
    chosen = fastest(planner(), card)
    assert chosen.peak.bytes < card * GIB
    faster = ways[: ways.index(chosen.way)]
    assert not any(planner().plan(way).fits(card) for way in faster)


def test_on_a_card_that_is_too_small_the_message_says_what_would_fit_and_it_does():
    with pytest.raises(ConfigError, match="8 GB are here") as refusal:
        fastest(planner(), 8)
    changes = refusal.value.fix.removeprefix("add ").split()
    assert fastest(planner(*changes), 8).peak.bytes < 8 * GIB


def test_a_recipe_of_several_sizes_is_told_to_give_up_the_others_too():
    """Following the advice once led to another, which asked for more."""
    several = ("data.resolution=768", "data.more_resolutions=[1024]", "adapter.rank=16")
    with pytest.raises(ConfigError, match="at 1024 x 1024") as refusal:
        fastest(planner(*several), 8)
    changes = refusal.value.fix.removeprefix("add ").split()
    assert "data.more_resolutions=[]" in changes
    assert fastest(planner(*several, *changes), 8).peak.bytes < 8 * GIB


def test_no_recipe_is_told_to_take_what_it_has_or_more():
    for words, smaller in smaller_recipes(planner("data.resolution=512", "adapter.rank=16").config):
        assert words == ("adapter.targets=attention",) and smaller.data.resolution == 512


def test_flux2_dev_fits_24_gb_at_512_and_48_gb_at_768():
    """32 billion numbers: 64 GB in 16 bits."""
    whole = planner("model=flux2_dev").plan(Way()).stage("train").parts["base"]
    assert whole == pytest.approx(64.4e9, rel=0.01)
    assert fastest(planner("model=flux2_dev"), 48).way == Way(Quantization.int8, gradient_checkpointing=True)
    with pytest.raises(ConfigError) as refusal:
        fastest(planner("model=flux2_dev"), 24)
    assert refusal.value.fix == "add data.resolution=512"
    small = fastest(planner("model=flux2_dev", "data.resolution=512"), 24)
    assert small.way.quantize is Quantization.nf4 and small.encodes_text_on_cpu(24)


@pytest.mark.parametrize(
    ("targets", "trained"),
    [("attention", 26_148_864), ("attention_mlp", 65_372_160), ("blocks_all", 85_917_696)],
)
def test_the_optimizer_is_four_numbers_for_each_that_flux_dev_has_at_rank_16(targets: str, trained: int):
    planned = planner(f"adapter.targets={targets}", "adapter.rank=16").plan(Way())
    train = next(stage for stage in planned.stages if stage.name == "train")
    assert train.parts["optimizer"] == trained * 16


@pytest.mark.parametrize(
    ("words", "trained"),
    [
        (("adapter.blocks=[double.img_attn,single.attn]",), 18_677_760),  # to_q, to_k, to_v, to_out.0 everywhere
        (("adapter.ranks=[single:8]",), 20_545_536),
    ],
)
def test_the_numbers_of_some_parts_and_of_other_ranks_are_counted(words: tuple[str, ...], trained: int):
    assert planner("adapter.targets=attention", "adapter.rank=16", *words).trained == trained


@pytest.mark.parametrize("optimizer", OptimizerName)
def test_every_optimizer_can_be_planned_with(optimizer: OptimizerName):
    rate = "train.learning_rate=1" if optimizer is OptimizerName.prodigy else "train.learning_rate=1e-4"
    planned = planner("model=mini", f"train.optimizer={optimizer}", rate)
    assert planned.plan(Way()).stage("train").parts["optimizer"] >= 8 * planned.trained


@pytest.mark.parametrize("kind", AdapterKind)
@pytest.mark.parametrize("rank", [4, 64])
def test_every_kind_is_planned_with_as_many_numbers_as_it_has(kind: AdapterKind, rank: int):
    planned = planner("model=mini", f"adapter.kind={kind}", f"adapter.rank={rank}", "evaluate.strengths=[1.0]")
    deltas = attach(
        load_transformer(MINI, torch.float32),
        [layer.name for layer in planned.layers],
        rank=rank,
        alpha=1.0,
        generator=torch.Generator(),
        kind=kind,
    ).deltas.values()
    assert planned.trained == sum(tensor.numel() for delta in deltas for tensor in tensors_in(delta))
    assert all((way.quantize is Quantization.nf4) <= (kind in ("lora", "dora")) for way in possible_ways(planned))


@pytest.mark.parametrize("how", list(Quantization))
def test_the_planned_weights_of_a_base_are_those_that_are_loaded(how: Quantization):
    loaded = load_transformer(MINI, torch.bfloat16, quantize=how)
    scales = sum(4 * m.weight.quant_state.absmax.numel() for m in loaded.modules() if isinstance(m, Nf4Linear))
    planned = planner("model=mini").plan(Way(how))
    assert planned.stages[1].parts["base"] == bytes_of(loaded) + scales


def test_modulation_in_host_memory_frees_27_percent_of_the_base():
    here, away = (planner().plan(Way(offload_modulation=each)).stages[1].parts["base"] for each in (False, True))
    assert here / GIB == pytest.approx(22.17, abs=0.01)
    assert 1 - away / here == pytest.approx(0.2713, abs=0.001)


def test_what_is_trained_never_waits_in_host_memory():
    assert not any(way.offload_modulation for way in possible_ways(planner("adapter.targets=blocks_all")))


def test_a_question_that_preserves_counts_half_a_step_where_it_is_asked_every_second():
    with_it, without = (planner(f"train.preservation={weight}").plan(Way()).flops for weight in (1.0, 0.0))
    assert with_it == pytest.approx(1.5 * without)


@pytest.mark.parametrize("pixels", [64, 128, 192])
@pytest.mark.parametrize("way", [Way(), Way(gradient_checkpointing=True), Way(Quantization.int8)])
def test_a_step_counted_block_by_kind_takes_what_the_whole_model_takes(pixels: int, way: Way):
    words = ("model=mini", f"data.resolution={pixels}", "adapter.rank=4")
    planned = planner(*words).plan(way)
    whole = replace(planner(*words), base=replace(planner(*words).base, transformer=_as_one_block(*words)))
    counted, by_kind = (each.stages[1].parts["activations"] for each in (whole.plan(way), planned))
    assert by_kind == pytest.approx(counted, rel=1e-3)


def _as_one_block(*words: str) -> nn.Module:
    """The transformer with its lists of blocks where they are not seen as such."""
    transformer = planner_of(recipe(*words)).base.transformer
    for name in ("transformer_blocks", "single_transformer_blocks"):
        blocks = transformer.get_submodule(name)
        assert isinstance(blocks, nn.ModuleList)
        transformer.register_module(name, _Blocks(blocks))
    return transformer


class _Blocks(nn.Sequential):
    """A list of blocks that is no ModuleList."""

    def __init__(self, blocks: nn.ModuleList) -> None:
        super().__init__(*blocks)


def test_auto_is_answered_before_anything_is_loaded_and_the_answer_is_kept_in_the_recipe():
    said: list[str] = []

    class Heard(Silent):
        def say(self, line: str) -> None:
            said.append(line)

    hardware = settled(recipe("hardware.gpu_gb=16"), Heard()).hardware
    assert (hardware.auto, hardware.dtype, hardware.quantize) == (False, ComputeDtype.bf16, Quantization.int8)
    assert hardware.offload_modulation and hardware.gradient_checkpointing and not hardware.encode_text_on_cpu
    assert said == ["hardware: int8, modulation offloaded, checkpointing, at most 13.0 of 16 GB (decode)"]


def test_without_a_gpu_auto_is_the_cpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    hardware = settled(recipe("model=mini"), Silent()).hardware
    assert (hardware.dtype, hardware.quantize, hardware.auto) == (ComputeDtype.fp32, Quantization.none, False)


def test_a_card_without_room_for_t5_encodes_captions_on_the_cpu():
    words = ("adapter.rank=16", "data.resolution=512", "hardware.gpu_gb=8")
    assert settled(recipe(*words), Silent()).hardware.encode_text_on_cpu


def test_the_verb_prints_ways_stages_times_and_settings(capsys: pytest.CaptureFixture[str]):
    assert plan(recipe("hardware.gpu_gb=24")) == 0
    out = capsys.readouterr().out
    assert "24 GB: int8, checkpointing, at most 16.0 of 24 GB" in out
    assert "RTX 4090: about " in out
    assert "hardware.quantize=int8 hardware.offload_modulation=false hardware.gradient_checkpointing=true" in out


def test_the_verb_lists_what_is_trained_by_part_and_rank(capsys: pytest.CaptureFixture[str]):
    words = ("adapter.targets=attention", "adapter.rank=16", "adapter.ranks=[single:8]")
    assert plan(recipe(*words)) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["image", "attention", "76", "16", "7,471,104"] in rows
    assert ["single", "attention", "114", "8", "5,603,328"] in rows
    assert ["all", "266", "20,545,536"] in rows


def test_what_is_set_beside_auto_is_kept():
    hardware = settled(recipe("hardware.gpu_gb=80", "hardware.quantize=nf4"), Silent()).hardware
    assert (hardware.quantize, hardware.gradient_checkpointing) == (Quantization.nf4, True)
    hardware = settled(recipe("hardware.gpu_gb=80", "hardware.offload_modulation=true"), Silent()).hardware
    assert hardware.offload_modulation and hardware.quantize is Quantization.int8


@pytest.mark.parametrize(
    ("card", "side", "way"),
    [
        (8, 768, Way(Quantization.nf4, offload_modulation=True)),
        (12, 1024, Way(Quantization.nf4)),
        (16, 1024, Way(Quantization.int8)),
        (48, 1024, Way()),
    ],
)
def test_images_alone_are_planned_without_a_backward_pass(card: int, side: int, way: Way):
    size = (f"preview.size={side}", f"data.resolution={side}")
    hardware = settled_to_render(recipe(f"hardware.gpu_gb={card}", *size), Silent(), None).hardware
    assert (hardware.quantize, hardware.offload_modulation) == (way.quantize, way.offload_modulation)
    assert not hardware.gradient_checkpointing and hardware.dtype is ComputeDtype.bf16
    planned = planner(*size)
    assert planned.rendering(way, 0).fits(card)
    trained = planned.plan(replace(way, gradient_checkpointing=True))
    assert planned.rendering(way, 0).stages[0].bytes < trained.stage("sample").bytes


def test_a_lora_in_the_modulation_keeps_it_on_the_card_and_its_numbers_are_counted():
    layer = LoRA(torch.zeros(4, 3072), torch.zeros(9216, 4), 4.0)
    adapter = Adapter({"single_transformer_blocks.0.norm.linear": layer})
    hardware = settled_to_render(recipe("hardware.gpu_gb=12", "preview.size=1024"), Silent(), adapter).hardware
    assert not hardware.offload_modulation and hardware.quantize is Quantization.nf4
    with_it, without = (planner().rendering(Way(), numbers).peak.parts["adapter"] for numbers in (4 * 12288, 0))
    assert with_it - without == 4 * 12288 * 2


def test_images_that_no_way_makes_room_for_are_refused_with_the_way_out():
    with pytest.raises(ConfigError, match="GB at least .nf4, modulation offloaded., and 4 GB are here") as refused:
        settled_to_render(recipe("hardware.gpu_gb=4"), Silent(), None)
    assert "width=512" in refused.value.fix
