"""Everything that is judged is judged together, and refusing is another function."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flux_lora.config.choices import AlphaPolicy
from flux_lora.data.checks.registry import CheckedSet, judge, refuse_errors, without_switched_off
from flux_lora.data.checks.subject_words import SubjectWords
from flux_lora.data.findings import Finding
from flux_lora.data.scan import ScanOptions, scan_all
from flux_lora.errors import DataError
from tests.data.drawn_images import gradient, write_sample
from tests.data.samples_of import find_samples

WORDS = SubjectWords("TOK", "mug")


def findings_in(folder: Path, alpha: AlphaPolicy = AlphaPolicy.composite) -> Iterator[Finding]:
    samples = find_samples(folder)
    scanned = scan_all(samples, ScanOptions(alpha=alpha))
    yield from judge(CheckedSet(samples=samples, words=WORDS, scanned=scanned))


def test_all_that_is_fatal_is_named_in_one_message(tmp_path: Path):
    write_sample(tmp_path, "a.png", None)
    write_sample(tmp_path, "b.png", "a photo of a mug on a table")
    (tmp_path / "c.png").write_bytes(b"no image")
    (tmp_path / "c.txt").write_text("a photo of a TOK mug on a chair")
    with pytest.raises(DataError) as caught:
        refuse_errors(findings_in(tmp_path))
    assert caught.value.problem.startswith("3 things are in the way")
    assert all(name in caught.value.problem for name in ("a.png", "b.png", "c.png"))


def test_a_set_without_a_fatal_finding_passes(tmp_path: Path):
    write_sample(tmp_path, "a.png", "a photo of a TOK mug on a table", gradient(96, 64))
    refuse_errors(findings_in(tmp_path))


def test_a_rule_that_is_off_does_not_bind(tmp_path: Path):
    write_sample(tmp_path, "a.png", None)
    found = list(findings_in(tmp_path))
    assert "no-caption" in {finding.rule for finding in found}
    assert "no-caption" not in {finding.rule for finding in without_switched_off(found, ["no-caption"])}


def test_transparency_is_fatal_only_where_it_is_refused(tmp_path: Path):
    image = gradient(96, 64)
    image.putalpha(90)
    write_sample(tmp_path, "a.png", "a photo of a TOK mug on a table", image)
    assert not any(finding.fatal for finding in findings_in(tmp_path))
    refused = [finding for finding in findings_in(tmp_path, AlphaPolicy.refuse) if finding.fatal]
    assert [finding.rule for finding in refused] == ["unreadable"]


def test_a_mask_of_another_shape_is_fatal(tmp_path: Path):
    sample = write_sample(tmp_path, "a.png", "a photo of a TOK mug on a table", gradient(96, 64))
    mask = tmp_path / "a.mask.png"
    gradient(64, 64).convert("L").save(mask)
    seen = scan_all([replace(sample, mask=mask)], ScanOptions())
    assert [finding.rule for finding in seen[0].findings] == ["mask-shape"]
