"""convert: write a LoRA of any tool in the names of another, and prove that nothing was lost."""

from pathlib import Path

from rich.console import Console

from flux_lora.adapter.files import read_any
from flux_lora.adapter.labels.lineage import inherited
from flux_lora.commands.writing import dtype_for, new_place, proof_in_words, write_proven, write_text_encoders
from flux_lora.config.asks import ConvertAsk


def convert(ask: ConvertAsk) -> int:
    """One file in, one file out; text encoders go into a file of their own."""
    terminal = Console(soft_wrap=True, highlight=False, markup=False)
    place = new_place(ask.out, ask.to)
    given = read_any(Path(ask.file))
    terminal.print(f"{ask.file}: {given.dialect} names, {len(given.adapter.changes)} modules")
    for remark in given.remarks:
        terminal.print(f"note: {remark}")
    dtype = dtype_for(ask.dtype, given.adapter, given.text_encoders)
    if given.adapter.changes:
        proof = write_proven(given.adapter, place, dialect=ask.to, dtype=dtype, metadata=inherited(given.metadata))
        terminal.print(f"{place}: {ask.to} names, {proof.bytes / 1e6:.1f} MB, sha256 {proof.sha256[:12]}")
        terminal.print(*proof_in_words(proof), sep="\n")
    beside = write_text_encoders(given.text_encoders, place, dtype)
    if beside:
        terminal.print(f"{beside}: {len(given.text_encoders.changes)} layers of the text encoders, kohya names")
    return 0
