"""export adapter=…: an adapter that another tool trained, in the names of several programs, each file proven."""

from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from flux_lora.adapter.files import read_any
from flux_lora.adapter.labels.lineage import inherited
from flux_lora.adapter.proof.loading import Base
from flux_lora.commands.beside import hand_out
from flux_lora.commands.run_folder import write_json
from flux_lora.commands.writing import EXPORT_DTYPES, places, proof_in_words, write_proven, write_text_encoders
from flux_lora.config.asks import ShipAsk
from flux_lora.config.checks import broken_export
from flux_lora.config.schema import ExportConfig
from flux_lora.errors import ConfigError

SUMMARY = ".export.json"


def export_other(ask: ShipAsk) -> int:
    """Write each dialect, prove it, and keep what was seen in <name>.export.json beside the files."""
    terminal = Console(soft_wrap=True, highlight=False, markup=False)
    _check(ask.export)
    source = Path(ask.adapter)
    given = read_any(source)
    terminal.print(f"{source}: {given.dialect} names, {len(given.adapter.changes)} modules")
    for remark in given.remarks:
        terminal.print(f"note: {remark}")
    wanted = places(ask.export, source.parent, source.stem)
    for place in wanted.values():
        if place.exists():
            raise ConfigError(f"{place} is there already", fix="set export.dir or export.name; nothing is written over")
    dtype, author = EXPORT_DTYPES[ask.export.dtype], ask.export.author
    metadata = inherited(given.metadata) | ({"modelspec.author": author} if author else {})
    base = Base(path=ask.base) if ask.base else None
    proofs = []
    for dialect, place in wanted.items():
        proof = write_proven(given.adapter, place, dialect=dialect, dtype=dtype, metadata=metadata, base=base)
        terminal.print(f"{place}: {dialect} names, {proof.bytes / 1e6:.1f} MB, sha256 {proof.sha256[:12]}")
        terminal.print(*(f"  {line}" for line in proof_in_words(proof)), sep="\n")
        proofs.append(asdict(proof))
    first = next(iter(wanted.values()))
    beside = write_text_encoders(given.text_encoders, first, dtype)
    if beside:
        terminal.print(f"{beside}: {len(given.text_encoders.changes)} layers of the text encoders, kohya names")
    told = first.with_name(f"{first.stem}{SUMMARY}")
    write_json({"adapter": str(source), "files": proofs}, told)
    files = [file for place in wanted.values() for file in (sorted(place.iterdir()) if place.is_dir() else [place])]
    hand_out(ask.export, first.parent, [*files, *([beside] if beside else []), told])
    return 0


def _check(export: ExportConfig) -> None:
    broken = list(broken_export(export))
    if broken:
        raise ConfigError("\n".join(problem for problem, _ in broken), fix="\n     ".join(fix for _, fix in broken))
