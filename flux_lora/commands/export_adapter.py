"""export adapter=…: an adapter that another tool trained, in the names of several programs, each file proven."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console

from flux_lora.adapter.files import AdapterContents, read_contents
from flux_lora.adapter.proof.diffusers_load import LoadedBase
from flux_lora.adapter.proof.prove import Proof
from flux_lora.adapter.write_proven import (
    DTYPES,
    check_writable,
    export_paths,
    inherited_facts,
    proof_in_words,
    title_of,
    write_proven,
    write_text_encoders,
)
from flux_lora.commands.lora_files import ONLY_TEXT, introduce
from flux_lora.commands.terminal import plain_console
from flux_lora.config.choices import ExportDialect
from flux_lora.config.file_verbs import ExportAdapterArgs
from flux_lora.config.rules import broken_export
from flux_lora.config.schema import ExportConfig
from flux_lora.errors import AdapterFileError, ConfigError
from flux_lora.models.device import placement_of
from flux_lora.models.family import ModelSource
from flux_lora.models.registry import family_of
from flux_lora.runs.folder import write_json
from flux_lora.runs.sharing import bundle_place, publish

SUMMARY = ".export.json"


def export_adapter(ask: ExportAdapterArgs) -> int:
    """Write each dialect, prove it, and keep what was seen in <name>.export.json beside the files."""
    terminal = plain_console()
    _check(ask.export)
    source = Path(ask.adapter)
    given = read_contents(source)
    introduce(ask.adapter, given, terminal)
    wanted, dtype = export_paths(ask.export, source.resolve().parent, title_of(source)), DTYPES[ask.export.dtype]
    first = next(iter(wanted.values()))
    told = first.with_name(f"{title_of(first)}{SUMMARY}")
    _check_free(ask, given, wanted, (told, *([bundle_place(first)] if ask.export.bundle else [])))
    proofs = list(_written(ask, given, wanted, terminal))
    beside = write_text_encoders(given.text_encoders, first, dtype)
    if beside:
        terminal.print(f"{beside}: {len(given.text_encoders.deltas)} layers of the text encoders, kohya names")
    write_json({"adapter": source.resolve().name, "files": [published(each) for each in proofs]}, told)
    files = [file for place in wanted.values() for file in (sorted(place.iterdir()) if place.is_dir() else [place])]
    for line in publish(ask.export, first, [*files, *([beside] if beside else []), told]):
        terminal.print(line)
    return 0


def published(proof: Proof) -> dict[str, object]:
    """A proof for others: with the file's name, and not its place on this machine."""
    return asdict(replace(proof, file=Path(proof.file).name))


def _written(
    ask: ExportAdapterArgs, given: AdapterContents, wanted: Mapping[ExportDialect, Path], terminal: Console
) -> Iterator[Proof]:
    dtype, author = DTYPES[ask.export.dtype], ask.export.author
    metadata = inherited_facts(given.metadata)[0] | ({"modelspec.author": author} if author else {})
    base = _base(ask) if ask.base else None
    for dialect, place in wanted.items():
        proof = write_proven(given.adapter, place, dialect=dialect, dtype=dtype, metadata=metadata, base=base)
        terminal.print(f"{place}: {dialect} names, {proof.bytes / 1e6:.1f} MB, sha256 {proof.sha256[:12]}")
        terminal.print(*(f"  {line}" for line in proof_in_words(proof)), sep="\n")
        yield proof


def _base(ask: ExportAdapterArgs) -> LoadedBase:
    placement, source = placement_of(ask.hardware), ModelSource(ask.base)
    family = family_of(source)
    return LoadedBase(family=family, transformer=family.load_transformer(source, placement), dtype=placement.dtype)


def _check_free(
    ask: ExportAdapterArgs, given: AdapterContents, wanted: Mapping[ExportDialect, Path], beside: Sequence[Path]
) -> None:
    """Refuse before the first file is written what would be refused after it."""
    if not given.adapter.deltas:
        raise AdapterFileError(f"{ask.adapter} changes nothing but text encoders", fix=ONLY_TEXT)
    check_writable(given.adapter, given.text_encoders, wanted, DTYPES[ask.export.dtype])
    for place in beside:
        if place.exists():
            raise ConfigError(f"{place} is there already", fix="set export.dir or export.name; nothing is written over")
    if ask.base:
        source = ModelSource(ask.base)
        family_of(source).transformer_place(source)


def _check(export: ExportConfig) -> None:
    broken = list(broken_export(export))
    if broken:
        raise ConfigError("\n".join(problem for problem, _ in broken), fix="\n     ".join(fix for _, fix in broken))
