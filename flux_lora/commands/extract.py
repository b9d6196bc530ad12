"""extract: the difference of two models as a LoRA."""

import math
from collections.abc import Mapping
from pathlib import Path

import torch

from flux_lora.adapter.base_weights import linear_modules, open_base, other_differences, weight_reader
from flux_lora.adapter.layer_types import frobenius_norm
from flux_lora.adapter.merge_resize import Resized, extract_lora
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
    others = other_differences(before, after)
    if not found.adapter.deltas:
        raise _nothing_to_hold(ask, others)
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
    if before.native != after.native:
        terminal.print(
            "biases and norms, which a LoRA cannot hold, were not compared: the two are in different layouts"
        )
    if others:
        terminal.print(_left_undone(found, others))
    terminal.print(*proof_in_words(proof), sep="\n")
    return 0


def _nothing_to_hold(ask: ExtractArgs, others: Mapping[str, float]) -> AdapterFileError:
    if not others:
        problem = f"{ask.before} and {ask.after} have the same weights"
        return AdapterFileError(problem, fix="give a base and its fine-tuned form")
    return AdapterFileError(
        f"{ask.before} and {ask.after} differ in {len(others)} tensors that a LoRA cannot hold (biases, norms), "
        f"first {next(iter(others))}, and in nothing else",
        fix="use the fine-tuned model itself",
    )


def _left_undone(found: Resized, others: Mapping[str, float]) -> str:
    """How much of the whole difference is in tensors that a LoRA has no room for."""
    worst = max(others, key=lambda name: others[name])
    said = f"left undone: {len(others)} biases and norms, which a LoRA cannot hold, most of all {worst}"
    if not all(math.isfinite(norm) for norm in others.values()):
        return f"{said}; some are in one of the models only"
    held = sum(
        frobenius_norm(delta) ** 2 / max(1e-12, 1 - found.errors.get(name, 0.0) ** 2)
        for name, delta in found.adapter.layers.items()
    )
    elsewhere = sum(norm**2 for norm in others.values())
    return f"{said}: {math.sqrt(elsewhere / (elsewhere + held)):.1%} of the whole difference (root of squares)"
