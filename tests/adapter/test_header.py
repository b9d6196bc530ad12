"""Files from strangers: whatever the bytes are, the answer is a true header or a clear refusal."""

import json
import os
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from flux_lora.adapter.header import printable, quoted, read_header
from flux_lora.adapter.inspection import describe
from flux_lora.errors import AdapterFileError

GOOD = save(
    {"transformer.a.lora_A.weight": torch.ones(2, 3), "transformer.a.lora_B.weight": torch.ones(4, 2).bfloat16()}
)


def file_of(header: object, body: bytes = b"", *, length: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw + body


def entry(start: int = 0, end: int = 4, dtype: object = "F32", shape: object = (1,)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


HOSTILE = {
    "empty": b"",
    "shorter than a length": b"\x01\x02",
    "cut in the header": GOOD[:40],
    "cut in the tensors": GOOD[:-1],
    "with something appended": GOOD + b"more",
    "a huge header": file_of({}, length=2**63),
    "a header longer than the file": file_of({}, length=1000),
    "not text": file_of(b"\xff\xfe{}"),
    "not JSON": file_of(b"{'a':}"),
    "a bottomless header": file_of(b"[" * 100_000),
    "a number too long to read": file_of(b'{"a":' + b"9" * 5000 + b"}"),
    "a list": file_of([]),
    "a pickle": b"\x80\x02}q\x00." * 20,
    "a web page": b"<!DOCTYPE html><html>404</html>" * 3,
    "a tensor that is a word": file_of({"a": "b"}),
    "an unknown dtype": file_of({"a": entry(dtype="F31")}, bytes(4)),
    "a dtype that is a list": file_of({"a": entry(dtype=["F32"])}, bytes(4)),
    "negative sides": file_of({"a": entry(shape=(-1, -1))}, bytes(4)),
    "sides that are true": file_of({"a": entry(shape=(True,))}, bytes(4)),
    "sides beyond counting": file_of({"a": entry(shape=[2**60] * 500_000)}, bytes(4)),
    "another size than its shape": file_of({"a": entry(shape=(2,))}, bytes(4)),
    "overlapping tensors": file_of({"a": entry(), "b": entry(2, 6)}, bytes(6)),
    "the same place twice": file_of({"a": entry(), "b": entry()}, bytes(4)),
    "a gap": file_of({"a": entry(), "b": entry(8, 12)}, bytes(12)),
    "a tensor outside the file": file_of({"a": entry(4000, 4004)}, bytes(4)),
    "a place that ends before it starts": file_of({"a": entry(4, 0)}, bytes(4)),
    "metadata that is not text": file_of({"__metadata__": {"a": 1}, "b": entry()}, bytes(4)),
    "one name twice": file_of(b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{}}'),
}


@pytest.mark.parametrize("contents", HOSTILE.values(), ids=HOSTILE)
def test_a_file_is_refused_that_is(contents: bytes, tmp_path: Path):
    file = tmp_path / "x.safetensors"
    file.write_bytes(contents)
    with pytest.raises(AdapterFileError) as refused:
        describe(file)
    assert str(file) in refused.value.problem and refused.value.fix


def test_a_file_that_is_not_there_and_a_folder_are_refused(tmp_path: Path):
    for place in (tmp_path, tmp_path / "nothing.safetensors"):
        with pytest.raises(AdapterFileError, match="cannot be read"):
            read_header(place)


def test_a_good_file_is_read_as_safetensors_wrote_it(tmp_path: Path):
    file = tmp_path / "x.safetensors"
    file.write_bytes(GOOD)
    header = read_header(file)
    assert {name: (entry.dtype, entry.shape) for name, entry in header.tensors.items()} == {
        "transformer.a.lora_A.weight": ("F32", (2, 3)),
        "transformer.a.lora_B.weight": ("BF16", (4, 2)),
    }


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, len(GOOD) - 1), value=st.integers(0, 255), cut=st.integers(0, len(GOOD)))
def test_a_damaged_file_is_described_or_refused_and_never_crashes(place: int, value: int, cut: int, tmp_path_factory):
    file = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    damaged = bytearray(GOOD)
    damaged[place] = value
    file.write_bytes(damaged if cut < len(GOOD) // 2 else damaged[:cut])
    try:
        describe(file)
    except AdapterFileError as refused:
        assert refused.fix


OTHER_FILES = {
    "a torch archive": (b"PK\x03\x04\x00\x00\x08\x08" + bytes(90), "zip archive", "pickle"),
    "an old checkpoint": (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "Python pickle", "safetensors"),
    "a GGUF model": (b"GGUF\x03\x00\x00\x00" + bytes(90), "GGUF", "LoRA"),
    "a Git LFS stand-in": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS", "git lfs"),
    "a sign-in page": (b"\n<!DOCTYPE html><html>Sign in</html>", "web page", "signed in"),
    "an adapter_config.json": (b'{"peft_type": "LORA"}', "JSON", "folder"),
}


@pytest.mark.parametrize(("contents", "kind", "fix"), OTHER_FILES.values(), ids=OTHER_FILES)
def test_a_file_of_another_kind_is_called_by_its_name(contents: bytes, kind: str, fix: str, tmp_path: Path):
    (tmp_path / "x.safetensors").write_bytes(contents)
    with pytest.raises(AdapterFileError, match=kind) as refused:
        read_header(tmp_path / "x.safetensors")
    assert fix in refused.value.fix


def test_a_cut_file_whose_header_has_128_bytes_is_not_taken_for_a_pickle(tmp_path: Path):
    (tmp_path / "x").write_bytes((128).to_bytes(8, "little") + b'{"a":')
    with pytest.raises(AdapterFileError, match="not a whole safetensors file"):
        read_header(tmp_path / "x")


def test_a_million_keys_are_refused_before_they_are_parsed(tmp_path: Path):
    one = b'"%07d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'
    (tmp_path / "x").write_bytes(file_of(b"{" + b",".join(one % number for number in range(250_000)) + b"}"))
    began = time.monotonic()
    with pytest.raises(AdapterFileError, match="more entries than any LoRA"):
        read_header(tmp_path / "x")
    assert time.monotonic() - began < 1


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(AdapterFileError, match="cannot be read"):
        read_header(tmp_path / "pipe")


def test_a_name_of_a_million_letters_is_not_repeated_in_full(tmp_path: Path):
    (tmp_path / "x").write_bytes(file_of({"x" * 1_000_000: "?"}))
    with pytest.raises(AdapterFileError) as refused:
        read_header(tmp_path / "x")
    assert len(refused.value.problem) < 500 + len(str(tmp_path))


def test_words_from_strangers_cannot_move_the_cursor():
    assert printable("mug\x1b[2J\r\n\u202e\ud800") == "mug [2J    "
    assert len(printable("x" * 5000)) < 300
    assert quoted("\x1b[2J\ud800") == "'\\x1b[2J\\ud800'"


def test_a_table_without_a_single_number_is_refused(tmp_path: Path):
    (tmp_path / "x").write_bytes(file_of({"a": entry(0, 0, shape=(2**40, 0))}))
    with pytest.raises(AdapterFileError, match="which is nothing"):
        read_header(tmp_path / "x")
