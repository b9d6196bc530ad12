"""Let a file say more about itself. Its tensors stay as they are, byte for byte."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open

from flux_lora.adapter.files import replacing
from flux_lora.adapter.header import LENGTH_BYTES, FileHeader, header_bytes, read_header
from flux_lora.adapter.labels.hashes import Hashes, chunks, hashes_of
from flux_lora.errors import AdapterFileError

KOHYA = "lora_unet_"
DOWN = (".lora_A.weight", ".lora_down.weight")
DYNAMIC = "Dynamic"
"""sd-scripts' word for a number that is not the same everywhere."""
MOST_FACTS = 512 * 1024
"""Bytes of metadata. Some programs read the header of every file they list."""


def add_metadata(file: Path, facts: Mapping[str, str]) -> Hashes:
    """Add facts to a file's metadata, with its rank, alpha and hashes; what it is known by afterwards.

    Written beside and renamed. The words of sd-scripts come last, from the file itself: ss_network_dim and
    ss_network_alpha are those of its tensors, which is not the training's where q, k and v were fused.
    """
    header = read_header(file)
    told = {**header.metadata, **facts, **_network(file, header)}
    told = {key: value for key, value in told.items() if value}
    hashes = hashes_of(file, FileHeader(header.tensors, told, header.bytes))
    told |= {
        "modelspec.hash_sha256": f"0x{hashes.tensors}",
        "sshs_model_hash": hashes.tensors,
        "sshs_legacy_hash": hashes.legacy,
    }
    size = sum(len(json.dumps(pair)) for pair in told.items())
    if size > MOST_FACTS:
        longest = max(told, key=lambda key: len(told[key]))
        raise AdapterFileError(
            f"{file} would say {size} bytes of itself, most of them {longest!r}, and {MOST_FACTS} are the limit",
            fix=f"shorten {longest}; a thumbnail of 256 pixels is enough",
        )
    _rewrite(file, header, told)
    written = hashes_of(file, read_header(file))
    assert written.tensors == hashes.tensors, "only the header is another one"
    return written


def _network(file: Path, header: FileHeader) -> dict[str, str]:
    """What sd-scripts' tools look for, read from the tensors that are really there."""
    ranks = {str(entry.shape[0]) for key, entry in header.tensors.items() if key.endswith(DOWN) and entry.shape}
    kept = [key for key in header.tensors if key.endswith(".alpha")]
    with safe_open(file, "pt") as opened:
        alphas = {f"{opened.get_tensor(key).item():g}" for key in kept} or ranks
    facts = {"ss_network_dim": _one(ranks), "ss_network_alpha": _one(alphas)}
    if any(key.startswith(KOHYA) for key in header.tensors):
        facts["ss_network_module"] = "networks.lora_flux"
    return facts


def _one(values: set[str]) -> str:
    return DYNAMIC if len(values) > 1 else next(iter(values), "")


def _rewrite(file: Path, header: FileHeader, metadata: Mapping[str, str]) -> None:
    with file.open("rb") as before, replacing(file) as after:
        before.seek(LENGTH_BYTES + int.from_bytes(before.read(LENGTH_BYTES), "little"))
        after.write(header_bytes(header.tensors, metadata))
        for chunk in chunks(before):
            after.write(chunk)
