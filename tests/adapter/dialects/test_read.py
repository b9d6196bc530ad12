"""Whatever a file holds, it is read or refused in words."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from flux_lora.adapter.dialects.alpha import METADATA_KEY
from flux_lora.adapter.dialects.module_names import DIFFUSERS, NATIVE
from flux_lora.adapter.dialects.module_tensors import from_checkpoint, to_checkpoint
from flux_lora.adapter.dialects.peft import PEFT_TYPES, from_peft
from flux_lora.adapter.dialects.read import StateDictContents, group_by_module
from flux_lora.adapter.dialects.table import KNOWN, detect
from flux_lora.adapter.layer_types import delta_of
from flux_lora.errors import AdapterFileError
from tests.adapter.dialects.widths import QKV, adapter, from_diffusers, to_diffusers
from tests.adapter.other_trainers import DIALECTS

SPELLINGS = [
    *(("transformer.", DIFFUSERS, "."), ("", DIFFUSERS, "."), ("base_model.model.", DIFFUSERS, "."), ("", NATIVE, ".")),
    *(("diffusion_model.", NATIVE, "."), ("base_model.model.", NATIVE, "."), ("transformer.", NATIVE, ".")),
    *(("lora_unet_", NATIVE, "_"), ("lora_transformer_", DIFFUSERS, "_"), ("lycoris_", DIFFUSERS, "_")),
]
TEXT = ["text_encoder.encoder.layers.1.mlp.fc1", "lora_te1_text_model_encoder_layers_1_mlp_fc1", "lora_te2_x"]
LORA = [("lora_A.weight", "lora_B.weight"), ("lora_down.weight", "lora_up.weight"), ("lora_A.default.weight",)]
LOKR = [("lokr_w1", "lokr_w2_a", "lokr_w2_b"), ("lokr_w1_a", "lokr_w1_b", "lokr_w2"), ("lokr_w1", "lokr_w2")]
OTHERS = [tuple(f"hada_w{one}_{side}" for one in (1, 2) for side in "ab"), ("oft_blocks",), ("oft_blocks", "rescale")]
MORE = ["dora_scale", "lora_magnitude_vector", "rescale", "diff", "diff_b", "lora_mid.weight", "down.weight", "lokr_w1"]
DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.int8, torch.bool, torch.float8_e4m3fn, torch.float64]
SHAPES = st.lists(st.sampled_from([0, 1, 2, 3, 6, 14]), max_size=4).map(tuple)


def fitting(end: str, side: int) -> tuple[int, ...]:
    """The shape that a tensor would have on a layer with `side` inputs and outputs."""
    known = {"oft_blocks": (side // 2, 2, 2), "rescale": (side,), "alpha": (), "dora_scale": (side, 1)}
    known |= {"lokr_w1": (2, 2), "lokr_w2": (side // 2, side // 2), "lokr_w1_a": (2, 1), "lokr_w1_b": (1, 2)}
    known |= {"lokr_w2_a": (side // 2, 1), "lokr_w2_b": (1, side // 2), "lora_magnitude_vector": (side,)}
    known |= {f"hada_w{one}_{letter}": (side, 2)[:: 1 if letter == "a" else -1] for one in (1, 2) for letter in "ab"}
    return known.get(end, (2, side) if "A" in end or "down" in end else (side, 2))


@st.composite
def files(draw: st.DrawFn) -> dict[str, Tensor]:
    """Modules in one spelling, most of them whole and of shapes that fit; now and then something else."""
    prefix, names, dot = draw(st.sampled_from(SPELLINGS))
    side, tensors = draw(st.sampled_from([6, 14, 42, 84])), {}
    rarely = st.integers(0, 19).map(lambda number: number == 0)
    for _ in range(draw(st.integers(1, 4))):
        module = draw(st.sampled_from(sorted(names))).replace("{}", "3").replace(".", dot)
        stem = draw(st.sampled_from(TEXT)) if draw(rarely) else f"{prefix}{module}"
        ends = draw(st.sampled_from([*LORA, *LOKR, *OTHERS])) + draw(st.sampled_from([(), ("alpha",)]))
        for end in (*ends, draw(st.sampled_from(MORE))) if draw(rarely) else ends:
            shape = draw(SHAPES) if draw(rarely) else fitting(end, side)
            value = draw(st.sampled_from([0.0, float("nan")])) if draw(rarely) else 1.5
            dtype = draw(st.sampled_from(DTYPES)) if draw(rarely) else torch.float32
            tensors[f"{stem}.{end}"] = torch.full(shape, value if dtype.is_floating_point else 1).to(dtype)
    return tensors


NUMBERS = st.none() | st.integers(-3, 3) | st.floats() | st.text(max_size=3)
PATTERNS = st.none() | st.lists(NUMBERS) | st.dictionaries(st.text(max_size=5) | st.sampled_from(QKV), NUMBERS)
CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "peft_type": st.sampled_from(PEFT_TYPES) | NUMBERS,
        "r": NUMBERS,
        "lora_alpha": NUMBERS,
        "rank_pattern": PATTERNS,
        "alpha_pattern": PATTERNS,
        "use_rslora": st.booleans(),
        "use_dora": st.booleans(),
        "bias": NUMBERS,
    },
)


@settings(max_examples=70, deadline=None)
@given(files(), st.just({}) | CONFIGS)
def test_any_tensors_are_read_or_refused_in_words(tensors: dict[str, Tensor], config: dict[str, object]):
    try:
        content = detect(tensors).read(tensors, {METADATA_KEY: json.dumps(config)} if config else {})
    except AdapterFileError as error:
        assert error.problem and error.fix
    else:
        assert isinstance(content, StateDictContents)
        assert content.adapter.deltas or content.text_encoders.deltas or content.remarks


@settings(max_examples=100, deadline=None)
@given(CONFIGS)
def test_any_config_of_peft_is_followed_or_refused_in_words(config: dict[str, object]):
    tensors = {f"base_model.model.{QKV[0]}.lora_{side}.weight": torch.ones(1, 1) for side in "AB"}
    try:
        adapter_there = from_peft(tensors, config)
    except AdapterFileError as error:
        assert error.problem and error.fix
    else:
        assert set(adapter_there.deltas) == {QKV[0]}


@pytest.mark.slow
@settings(max_examples=5000, deadline=None)
@given(files(), st.just({}) | CONFIGS)
def test_any_tensors_are_read_or_refused_in_words_many_times_over(
    tensors: dict[str, Tensor], config: dict[str, object]
):
    try:
        detect(tensors).read(tensors, {METADATA_KEY: json.dumps(config)} if config else {})
    except AdapterFileError as error:
        assert error.problem and error.fix


def test_eight_bit_floats_are_read_as_the_numbers_they_are():
    before = adapter(QKV, alpha=2.0)
    tensors = {key: value.to(torch.float8_e4m3fn) for key, value in to_diffusers(before, torch.float32).items()}
    after = from_diffusers(tensors)
    for name, layer in after.layers.items():
        assert torch.equal(layer.up.float(), tensors[f"transformer.{name}.lora_B.weight"].float())
        assert delta_of(layer).isfinite().all()


@pytest.mark.parametrize("file", ["xlabs", "bfl", "lycoris lokr"])
def test_eight_bit_floats_are_widened_in_every_dialect(file: str):
    dialect = detect(DIALECTS[file])
    after = dialect.read({key: value.to(torch.float8_e4m3fn) for key, value in DIALECTS[file].items()}, {})
    assert all(delta_of(delta).isfinite().all() for delta in after.adapter.deltas.values())


def test_eight_bit_floats_in_a_checkpoint_are_widened():
    tensors = {key: value.to(torch.float8_e4m3fn) for key, value in to_checkpoint(adapter(QKV, alpha=2.0)).items()}
    assert all(layer.up.isfinite().all() for layer in from_checkpoint(tensors).layers.values())


def test_one_tensor_under_two_spellings_is_refused():
    key = f"transformer.{QKV[0]}"
    with pytest.raises(AdapterFileError, match="two tensors for down"):
        group_by_module({f"{key}.lora_A.weight": torch.ones(1, 1), f"{key}.lora_down.weight": torch.ones(1, 1)})


def test_every_dialect_but_xlabs_owns_each_of_its_modules_and_no_other_does():
    for dialect in KNOWN:
        if dialect.write is not None and dialect.name != "xlabs":
            keys = dialect.write(adapter(QKV), torch.float32)
            assert [[each.name for each in KNOWN if each.owns(key)] for key in keys] == [[dialect.name]] * len(keys)
