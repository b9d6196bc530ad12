"""check: read photos and captions, and list every problem with its fix."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from flux_lora.config.schema import DataConfig, RunConfig
from flux_lora.data.judge import Finding, judge, refuse
from flux_lora.data.samples import Sample, find_samples
from flux_lora.evaluate.prompts import Suite, read_prompts, standard_prompts

WARNED = 1
ABOUT_CAPTIONS = ("no-caption", "no-trigger", "short-caption", "same-caption")
"""Held-out pictures are only looked at, so these rules do not bind them."""


@dataclass(frozen=True)
class Material:
    """What a run learns from, what it is compared with, and what it is asked."""

    samples: tuple[Sample, ...]
    held_out: tuple[Sample, ...]
    suite: Suite
    findings: tuple[Finding, ...]


def check(config: RunConfig) -> int:
    """Print what was found; 1 if there are warnings and strict is set."""
    _, code = clear(config)
    return code


def clear(config: RunConfig) -> tuple[Material, int]:
    """What may be trained on, its warnings printed, and the exit code they deserve; refused if anything is fatal."""
    material = read_material(config.data)
    refuse(material.findings)
    seen = len(material.samples) + len(material.held_out)
    return material, _warn(material.findings, strict=config.strict, seen=seen)


def read_material(wanted: DataConfig) -> Material:
    """Find the samples, held-out ones and prompts, and judge all of them. Nothing is written."""
    folder = Path(wanted.folder).expanduser()
    samples = find_samples(folder)
    held_out_folder = Path(wanted.held_out).expanduser() if wanted.held_out else folder / "held_out"
    held_out = find_samples(held_out_folder) if wanted.held_out or held_out_folder.is_dir() else []
    found = judge([*samples, *held_out], wanted.trigger, resolution=wanted.resolution, alpha=wanted.alpha)
    only_compared = {sample.image for sample in held_out}
    binding = (each for each in found if each.file not in only_compared or each.rule not in ABOUT_CAPTIONS)
    return Material(tuple(samples), tuple(held_out), _suite(wanted, folder), tuple(binding))


def _warn(findings: Sequence[Finding], *, strict: bool, seen: int) -> int:
    """Print warnings; the exit code they deserve."""
    terminal = Console(stderr=True, soft_wrap=True, highlight=False)
    warnings = [finding for finding in findings if not finding.fatal]
    for finding in warnings:
        terminal.print(f"{finding.file} {finding.problem} -> {finding.fix}", markup=False)
    terminal.print(f"{seen} pictures read, {len(warnings)} warning(s), nothing in the way of training")
    return WARNED if warnings and strict else 0


def _suite(wanted: DataConfig, folder: Path) -> Suite:
    file = Path(wanted.prompts).expanduser() if wanted.prompts else folder / "prompts.txt"
    if wanted.prompts or file.is_file():
        return read_prompts(file, wanted.trigger, wanted.class_word)
    return standard_prompts(wanted.trigger, wanted.class_word)
