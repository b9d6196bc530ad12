"""Which layers the target names mean."""

import pytest
from torch import nn

from flux_lora.adapter.loaders.comfyui import comfyui_module_names
from flux_lora.adapter.trainable import matching_layers, trained_ranks
from flux_lora.config.choices import AdapterTargets
from flux_lora.config.schema import AdapterConfig
from flux_lora.errors import ConfigError
from flux_lora.models.flux1.family import Flux1
from flux_lora.models.flux1.layers import LAYER_GROUPS, flux1_shapes
from tests.tiny import tiny_transformer

EXPECTED = {AdapterTargets.attention: 8 + 3, AdapterTargets.attention_mlp: 12 + 5, AdapterTargets.blocks_all: 14 + 6}


@pytest.fixture(scope="module")
def names() -> list[str]:
    return [name for name, module in tiny_transformer().named_modules() if isinstance(module, nn.Linear)]


@pytest.mark.parametrize("targets", list(AdapterTargets))
def test_one_double_and_one_single_block_have_this_many_layers(names: list[str], targets: AdapterTargets):
    assert len(matching_layers(names, targets, LAYER_GROUPS)) == EXPECTED[targets]


def test_every_name_in_the_recipe_has_a_pattern():
    assert set(LAYER_GROUPS) == set(AdapterTargets)


@pytest.mark.parametrize("targets", list(AdapterTargets))
def test_the_final_layer_and_the_embedders_are_left_alone(names: list[str], targets: AdapterTargets):
    assert all("transformer_blocks." in name for name in matching_layers(names, targets, LAYER_GROUPS))


def test_blocks_all_means_every_linear_of_every_block(names: list[str]):
    assert matching_layers(names, AdapterTargets.blocks_all, LAYER_GROUPS) == [
        name for name in names if "transformer_blocks." in name
    ]


def test_targets_that_name_nothing_are_refused():
    with pytest.raises(ConfigError, match="names no layer"):
        matching_layers(["unet.down.0", "proj_out"], AdapterTargets.attention_mlp, LAYER_GROUPS)


def test_comfyui_knows_every_linear_of_the_transformer_in_both_namings(names: list[str]):
    known = comfyui_module_names(names)
    assert all(f"transformer.{name}" in known for name in names)
    native = [name for stem, seat in known.items() if stem.startswith("diffusion_model.") for name in seat.parts]
    assert sorted(native) == sorted(names)


RELEASED = list(flux1_shapes())


@pytest.mark.parametrize(
    ("blocks", "count"),
    [
        (("single.7",), 5),
        (("single.7", "single.12", "single.16", "single.20"), 20),
        (("single.20-30",), 55),
        (("double",), 19 * 12),
        (("double.0-1", "single"), 2 * 12 + 38 * 5),
        (("single.7", "single.0-9"), 50),
        (("single.7.out", "single.12.out", "single.16.out", "single.20.out"), 4),
        (("double.img_attn", "single.attn"), 19 * 4 + 38 * 3),
        (("double.0-1.mlp",), 2 * 4),
    ],
)
def test_blocks_leave_the_layers_of_some_blocks(blocks: tuple[str, ...], count: int):
    found = matching_layers(RELEASED, "attention_mlp", LAYER_GROUPS, blocks=blocks)
    assert len(found) == len(set(found)) == count


def ranks_of(*said: str, blocks: tuple[str, ...] = ()) -> dict[str, int]:
    return trained_ranks(RELEASED, AdapterConfig(rank=4, ranks=said, blocks=blocks), Flux1())


def test_ranks_hold_where_they_are_said_the_last_one_of_several_and_the_recipe_s_elsewhere():
    ranks = ranks_of("double.attn:16", "single:8", "single.3-4.out:32")
    assert list(ranks) == matching_layers(RELEASED, "attention_mlp", LAYER_GROUPS)
    assert ranks["transformer_blocks.0.attn.to_q"] == ranks["transformer_blocks.18.attn.add_k_proj"] == 16
    assert ranks["transformer_blocks.0.ff.net.2"] == 4
    assert ranks["single_transformer_blocks.2.proj_out"] == ranks["single_transformer_blocks.3.attn.to_q"] == 8
    assert [name for name, rank in ranks.items() if rank == 32] == [
        f"single_transformer_blocks.{number}.proj_out" for number in (3, 4)
    ]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("single.38:8", "in which nothing is trained; there are double.0-18 and single.0-37"),
        ("double.mod:8", "in which nothing is trained"),
        ("double", "'double', in which nothing is trained"),
        ("double:0", "'double:0', which has no rank behind a colon"),
        ("double:x", "'double:x', which has no rank behind a colon"),
    ],
)
def test_a_rank_for_nothing_is_refused(said: str, told: str):
    with pytest.raises(ConfigError, match=told) as refused:
        ranks_of("single:8", said)
    assert "adapter.ranks=[double.attn:16,single:8]" in refused.value.fix


def test_a_rank_for_blocks_that_are_not_trained_is_refused():
    with pytest.raises(ConfigError, match="'double:8', in which nothing is trained"):
        ranks_of("double:8", blocks=("single",))


@pytest.mark.parametrize(
    "said",
    [
        "single.38",
        "double.19-30",
        "triple",
        "single.7.txt_attn",
        "single.7.mod",
        "single.attn.7",
        "7",
        "single.9-3",
        "",
    ],
)
def test_a_block_in_which_nothing_is_trained_is_refused_with_those_that_there_are(said: str):
    with pytest.raises(ConfigError, match=r"double\.0-18 and single\.0-37") as refused:
        matching_layers(RELEASED, "attention_mlp", LAYER_GROUPS, blocks=("double", said))
    assert "adapter.blocks=[" in refused.value.fix
