"""Spoiled files of every dialect: each is described or refused, soon, in few words and in little memory."""

import json
import resource
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flux_lora.adapter.inspection import describe
from flux_lora.adapter.reproduce import read_reproduction
from flux_lora.errors import AdapterFileError
from tests.adapter.corrupt_files import spoiled
from tests.adapter.other_trainers import SEEDS
from tests.adapter.test_header import file_of

SECONDS = 1.0
MOST_GROWTH_KIB = 400 * 1024
LONGEST_PROBLEM = 2000
CHUNKS, IN_A_CHUNK = 10, 50
SLOW_CHUNKS, IN_A_SLOW_CHUNK = 100, 500


def asked(raw: bytes, file: Path) -> str:
    """What was answered to this file: a dialect, or `refused`. Anything else that is raised is a crash."""
    file.write_bytes(raw)
    began = time.process_time()
    try:
        answer = describe(file).dialect
    except AdapterFileError as refused:
        problem = refused.problem.replace(str(file), "")
        assert problem.isprintable() and len(problem) < LONGEST_PROBLEM and refused.fix
        answer = "refused"
    assert time.process_time() - began < SECONDS
    return answer


def peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_spoiled_files_are_described_or_refused(chunk: int, tmp_path: Path):
    answers = [asked(spoiled(chunk * IN_A_CHUNK + number), tmp_path / "x") for number in range(IN_A_CHUNK)]
    assert "refused" in answers and len(set(answers)) > 3, "the spoiling is neither too mild nor too harsh"


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(SLOW_CHUNKS))
def test_many_more_spoiled_files_are_described_or_refused(chunk: int, tmp_path: Path):
    first, before = CHUNKS * IN_A_CHUNK + chunk * IN_A_SLOW_CHUNK, peak_kib()
    for number in range(first, first + IN_A_SLOW_CHUNK):
        asked(spoiled(number), tmp_path / "x")
    assert peak_kib() - before < MOST_GROWTH_KIB


@settings(max_examples=100)
@given(raw=st.binary(max_size=200), length=st.one_of(st.none(), st.integers(0, 2**64 - 1)))
def test_bytes_without_any_sense_are_refused(raw: bytes, length: int | None, tmp_path_factory):
    raw = raw if length is None else length.to_bytes(8, "little") + raw
    assert asked(raw, tmp_path_factory.getbasetemp() / "senseless") == "refused"


@pytest.mark.parametrize("name", SEEDS)
def test_unspoiled_the_files_are_described(name: str, tmp_path: Path):
    answer = asked(SEEDS[name], tmp_path / "x")
    assert (answer == "unknown") == (name == "sdxl")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=12,
)
PEFT_WORDS = ("r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "bias", "modules_to_save")


@settings(max_examples=50)
@given(config=st.dictionaries(st.sampled_from(PEFT_WORDS), JSON) | JSON)
def test_a_peft_folder_with_an_odd_config_is_described_or_refused(config: object, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "odd_peft"
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").write_bytes(SEEDS["peft"])
    try:
        describe(folder)
    except AdapterFileError as refused:
        assert refused.problem.isprintable() and len(refused.problem) < LONGEST_PROBLEM


@settings(max_examples=150)
@given(
    metadata=st.dictionaries(
        st.sampled_from(("flux_lora.recipe", "flux_lora.versions", "flux_lora.scores", "flux_lora.dataset", "ss_seed")),
        st.text(max_size=30) | JSON.map(json.dumps),
    )
)
def test_odd_metadata_is_read_back_or_refused(metadata: dict[str, str], tmp_path_factory):
    file = tmp_path_factory.getbasetemp() / "odd_recipe"
    file.write_bytes(file_of({"__metadata__": metadata}))
    try:
        read_reproduction(file, {}).recipe.encode()
    except AdapterFileError as refused:
        assert refused.problem.isprintable() and len(refused.problem) < LONGEST_PROBLEM
