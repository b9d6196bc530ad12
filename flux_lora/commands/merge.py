"""merge: one LoRA that does what several do together."""

from pathlib import Path

from flux_lora.adapter.files import only_transformer, read_contents
from flux_lora.adapter.layer_types import Adapter
from flux_lora.adapter.merge_resize import merge_adapters, resize_adapter
from flux_lora.adapter.metadata import merged_metadata
from flux_lora.adapter.write_proven import check_writable, dtype_for, new_place, proof_in_words, title_of, write_proven
from flux_lora.commands.lora_files import check_rank, error_in_words
from flux_lora.commands.terminal import plain_console
from flux_lora.config.file_verbs import MergeArgs
from flux_lora.errors import ConfigError


def merge(ask: MergeArgs) -> int:
    """The exact sum, each file at its strength; cut to a rank if one is given, with the error said."""
    terminal = plain_console()
    check_rank(ask.rank)
    place, strengths = new_place(ask.out, ask.to), _strengths(ask)
    read = {file: read_contents(Path(file)) for file in ask.files}
    adapters = [only_transformer(read[file], Path(file)) for file in ask.files]
    whole = merge_adapters(adapters, strengths)
    if ask.rank:
        cut = resize_adapter(whole, ask.rank)
        terminal.print(error_in_words(cut))
        whole = cut.adapter
    metadata = merged_metadata(
        [read[file].metadata for file in ask.files],
        [title_of(Path(file)) for file in ask.files],
        title_of(place),
    )
    dtype = dtype_for(ask.dtype, *adapters)
    check_writable(whole, Adapter({}), {ask.to: place}, dtype)
    proof = write_proven(whole, place, dialect=ask.to, dtype=dtype, metadata=metadata)
    told = " + ".join(f"{strength:g} x {file}" for strength, file in zip(strengths, ask.files, strict=True))
    terminal.print(f"{place}: {told}; rank {' '.join(map(str, whole.ranks))}, {proof.bytes / 1e6:.1f} MB")
    terminal.print(*proof_in_words(proof), sep="\n")
    return 0


def _strengths(ask: MergeArgs) -> tuple[float, ...]:
    if len(ask.files) < 2:
        raise ConfigError(f"files names {len(ask.files)} file(s)", fix="give two or more: files=[a,b]")
    if ask.strengths and len(ask.strengths) != len(ask.files):
        raise ConfigError(
            f"there are {len(ask.files)} files and {len(ask.strengths)} strengths",
            fix="give one strength for each file, or none for 1.0 each",
        )
    return ask.strengths or (1.0,) * len(ask.files)
