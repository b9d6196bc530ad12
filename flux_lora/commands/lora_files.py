"""What the verbs on LoRA files share: saying what was read, limits of a rank, and what a lower rank loses."""

from rich.console import Console

from flux_lora.adapter.files import AdapterContents
from flux_lora.adapter.header import printable, quoted
from flux_lora.adapter.layer_types import Adapter
from flux_lora.adapter.merge_resize import Resized
from flux_lora.adapter.write_proven import inherited_facts
from flux_lora.errors import AdapterFileError, ConfigError
from flux_lora.models.registry import FAMILIES

ONLY_TEXT = "write its own file for them: flux-lora convert"
"""The way out for a file that changes text encoders alone."""
SHOWN = 3
"""Names of what is left out; the rest is counted."""
LONGEST_NOTE = 1000
"""Characters. A file's own words are in it."""


def introduce(file: str, given: AdapterContents, terminal: Console) -> None:
    """Print what was read, and notes for its owner. Raises AdapterFileError where the file changes nothing."""
    if not given.adapter.deltas and not given.text_encoders.deltas:
        raise AdapterFileError(f"{file} changes no layer", fix="give a LoRA for FLUX")
    terminal.print(f"{file}: {given.dialect} names, {len(given.adapter.deltas)} modules")
    _, left_out = inherited_facts(given.metadata)
    shown = [quoted(key) for key in left_out[:SHOWN]] + [f"{len(left_out) - SHOWN} more"] * (len(left_out) > SHOWN)
    notes = [f"its {', '.join(shown)} would be too long for a header, and left out"] if left_out else []
    for note in (*given.remarks, *notes):
        terminal.print(f"note: {printable(note, LONGEST_NOTE)}")


def check_rank(rank: int) -> None:
    """Refuse a rank that no layer can have; it would only be zeros, and more of them than fit in memory."""
    largest, name = max((min(shape), family.name) for family in FAMILIES for shape in family.linear_shapes().values())
    if rank > largest:
        raise ConfigError(f"rank is {rank}, and {name}'s layers have {largest} at most", fix="16 to 128 are usual")


def error_in_words(found: Resized) -> str:
    """What a lower rank loses."""
    worst = max(found.errors, key=lambda name: found.errors[name], default="")
    return f"lost: {found.worst:.1%} of {worst} at most, {_mean(found):.1%} of a module on average"


def ranks_in_words(adapter: Adapter) -> str:
    """The rank, or the least and the greatest."""
    least, most = min(adapter.ranks), max(adapter.ranks)
    return f"rank {least}" if least == most else f"ranks {least} to {most}"


def _mean(found: Resized) -> float:
    return sum(found.errors.values()) / max(1, len(found.errors))
