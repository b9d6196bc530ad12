"""extract: the difference of two models as a LoRA."""

from pathlib import Path

import torch

from flux_lora.adapter.base_weights import linear_modules, open_base, weight_reader
from flux_lora.adapter.merge_resize import extract_lora
from flux_lora.adapter.write_proven import DTYPES, new_place, proof_in_words, title_of, write_proven
from flux_lora.commands.lora_files import check_rank, error_in_words
from flux_lora.commands.terminal import plain_console
from flux_lora.config.choices import FileDtype
from flux_lora.config.file_verbs import ExtractArgs
from flux_lora.errors import AdapterFileError, ConfigError


def extract(ask: ExtractArgs) -> int:
    """The nearest LoRA of a rank in every layer that differs, with the error said."""
    terminal = plain_console()
    if ask.rank < 1:
        raise ConfigError(f"rank is {ask.rank}", fix="set rank to 1 or more (32 is a good start)")
    check_rank(ask.rank)
    place = new_place(ask.out, ask.to)
    before, after = open_base(Path(ask.before)), open_base(Path(ask.after))
    names = sorted(set(linear_modules(before)) & set(linear_modules(after)))
    found = extract_lora(weight_reader(before), weight_reader(after), names, ask.rank)
    if not found.adapter.deltas:
        raise AdapterFileError(
            f"{ask.before} and {ask.after} have the same weights", fix="give a base and its fine-tuned form"
        )
    metadata = {
        "format": "pt",
        "modelspec.title": title_of(place),
        "modelspec.merged_from": f"{Path(ask.after).name} - {Path(ask.before).name}",
    }
    dtype = torch.float32 if ask.dtype is FileDtype.same else DTYPES[ask.dtype]
    proof = write_proven(found.adapter, place, dialect=ask.to, dtype=dtype, metadata=metadata)
    differ = f"{len(found.adapter.deltas)} of {len(names)} layers differ"
    terminal.print(f"{place}: {differ}; rank {ask.rank}, {proof.bytes / 1e6:.1f} MB")
    terminal.print(error_in_words(found))
    terminal.print(*proof_in_words(proof), sep="\n")
    return 0
