"""resize: a LoRA of another rank, and how far it is from the one given."""

from collections.abc import Mapping
from pathlib import Path

from flux_lora.adapter.base_weights import open_base, weight_reader
from flux_lora.adapter.files import read_contents
from flux_lora.adapter.layer_types import Adapter
from flux_lora.adapter.merge_resize import Resized, resize_adapter, resize_adapter_by_energy
from flux_lora.adapter.write_proven import (
    check_writable,
    dtype_for,
    inherited_facts,
    new_place,
    proof_in_words,
    write_proven,
    write_text_encoders,
)
from flux_lora.commands.lora_files import ONLY_TEXT, check_rank, error_in_words, introduce, ranks_in_words
from flux_lora.commands.terminal import plain_console
from flux_lora.config.file_verbs import ResizeArgs
from flux_lora.errors import AdapterFileError, ConfigError


def resize(ask: ResizeArgs) -> int:
    """The nearest LoRA of this rank, or of as much rank as it takes to keep a share."""
    terminal = plain_console()
    if bool(ask.rank) == bool(ask.keep):
        raise ConfigError("resize takes rank or keep, one of them", fix="add rank=16, or keep=0.99")
    check_rank(ask.rank)
    if ask.keep and ask.base:
        raise ConfigError(
            "base is for a DoRA or OFT, and those are resized by rank", fix="give rank=16 in place of keep"
        )
    place = new_place(ask.out, ask.to)
    given = read_contents(Path(ask.file))
    introduce(ask.file, given, terminal)
    if not given.adapter.deltas:
        raise AdapterFileError(f"{ask.file} changes nothing but text encoders", fix=ONLY_TEXT)
    found = _resized(given.adapter, ask)
    dtype = dtype_for(ask.dtype, given.adapter)
    check_writable(found.adapter, given.text_encoders, {ask.to: place}, dtype)
    proof = write_proven(found.adapter, place, dialect=ask.to, dtype=dtype, metadata=_metadata(given.metadata))
    terminal.print(f"{place}: {ranks_in_words(found.adapter)}, {proof.bytes / 1e6:.1f} MB")
    terminal.print(error_in_words(found))
    terminal.print(*proof_in_words(proof), sep="\n")
    beside = write_text_encoders(given.text_encoders, place, dtype)
    if beside:
        terminal.print(f"{beside}: the text encoders' layers as they were")
    return 0


def _resized(adapter: Adapter, ask: ResizeArgs) -> Resized:
    if ask.keep:
        return resize_adapter_by_energy(adapter, ask.keep)
    return resize_adapter(adapter, ask.rank, weights=weight_reader(open_base(Path(ask.base))) if ask.base else None)


def _metadata(before: Mapping[str, str]) -> dict[str, str]:
    """What is still true of the adapter at another rank: not the alpha that went with the old one."""
    facts, _ = inherited_facts(before)
    return {key: value for key, value in facts.items() if key != "flux_lora.alpha"}
