"""convert: write a LoRA of any tool in the names of another, and prove that nothing was lost."""

from pathlib import Path

from flux_lora.adapter.files import read_contents
from flux_lora.adapter.write_proven import (
    check_writable,
    dtype_for,
    inherited_facts,
    new_place,
    proof_in_words,
    write_proven,
    write_text_encoders,
)
from flux_lora.commands.lora_files import introduce
from flux_lora.commands.terminal import plain_console
from flux_lora.config.file_verbs import ConvertArgs


def convert(ask: ConvertArgs) -> int:
    """One file in, one file out; text encoders go into a file of their own."""
    terminal = plain_console()
    place = new_place(ask.out, ask.to)
    given = read_contents(Path(ask.file))
    introduce(ask.file, given, terminal)
    dtype = dtype_for(ask.dtype, given.adapter, given.text_encoders)
    check_writable(given.adapter, given.text_encoders, {ask.to: place}, dtype)
    if given.adapter.deltas:
        metadata, _ = inherited_facts(given.metadata)
        proof = write_proven(given.adapter, place, dialect=ask.to, dtype=dtype, metadata=metadata)
        terminal.print(f"{place}: {ask.to} names, {proof.bytes / 1e6:.1f} MB, sha256 {proof.sha256[:12]}")
        terminal.print(*proof_in_words(proof), sep="\n")
    beside = write_text_encoders(given.text_encoders, place, dtype)
    if beside:
        terminal.print(f"{beside}: {len(given.text_encoders.deltas)} layers of the text encoders, kohya names")
    return 0
