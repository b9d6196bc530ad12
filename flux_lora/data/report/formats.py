"""Findings as text for a terminal, as JSON, as SARIF for code hosts and as JUnit XML for CI.

Captions and file names are untrusted: nothing in them can move a cursor, break the XML or end a string.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path, PurePath
from types import MappingProxyType
from urllib.parse import quote
from xml.etree import ElementTree

from flux_lora.config.choices import Severity
from flux_lora.data.findings import Finding, Rule

NOTHING_OFF: Mapping[str, str] = MappingProxyType({})
MOST_IN_FULL: Mapping[Severity, int] = MappingProxyType({Severity.error: 12, Severity.warning: 2, Severity.note: 3})
"""Files that a rule is told of one by one, each with its own problem and fix."""
FEW = 3
"""Files that are named where there are more, but for errors, which name all."""
SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Terminal control characters except tab and newline, bidirectional overrides, lone surrogates."""
NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, even escaped."""


def as_text(findings: Sequence[Finding]) -> str:
    """Lines for a terminal: each file once with all its findings, worst files first; then the counts.

    What is found in many files is said once, errors before the files and all else behind them; the page has each.
    """
    ordered = worst_first(findings)
    by_rule: dict[str, list[Finding]] = {}
    for finding in ordered:
        by_rule.setdefault(finding.rule, []).append(finding)
    groups = [found for found in by_rule.values() if len(found) > MOST_IN_FULL[found[0].severity]]
    grouped = {found[0].rule for found in groups}
    by_file: dict[Path, list[Finding]] = {}
    for finding in ordered:
        if finding.rule not in grouped:
            by_file.setdefault(finding.file, []).append(finding)
    lines = [line for found in groups if found[0].fatal for line in _group(found)]
    lines += [line for file, found in by_file.items() for line in (str(file), *_lines(found), "")]
    lines += [line for found in groups if not found[0].fatal for line in _group(found)]
    return "\n".join(_plain(line) for line in (*lines, counted(findings)))


def as_json(findings: Sequence[Finding], *, images: int, version: str, off: Mapping[str, str] = NOTHING_OFF) -> str:
    """Counts, findings, and the rules that were switched off with their reasons, as JSON."""
    counts = _counts(findings)
    return json.dumps(
        {
            "flux_lora": version,
            "pictures": images,
            "errors": counts[Severity.error],
            "warnings": counts[Severity.warning],
            "notes": counts[Severity.note],
            "findings": [
                {
                    "file": str(finding.file),
                    "rule": finding.rule,
                    "severity": finding.severity.value,
                    "problem": finding.problem,
                    "fix": finding.fix,
                    "others": [str(other) for other in finding.others],
                }
                for finding in worst_first(findings)
            ],
            "off": dict(off),
        },
        indent=2,
    )


def as_sarif(
    findings: Sequence[Finding],
    rules: Sequence[Rule],
    version: str,
    *,
    off: Mapping[str, str] = NOTHING_OFF,
    root: Path | None = None,
) -> str:
    """SARIF 2.1.0, for code scanning on code hosts. Files under `root` are relative to it, as hosts want them."""
    listed = _listed(findings, rules)
    rule_indices = {rule.id: index for index, rule in enumerate(listed)}
    driver = {
        "name": "flux-lora",
        "version": version,
        "rules": [
            {
                "id": rule.id,
                "shortDescription": {"text": rule.about},
                "defaultConfiguration": {"level": rule.severity.value, "enabled": rule.id not in off},
            }
            for rule in listed
        ],
    }
    results = [_sarif_result(finding, rule_indices[finding.rule], root) for finding in worst_first(findings)]
    notifications = [
        {"level": "note", "message": {"text": f"{rule} is switched off: {reason}"}, "descriptor": {"id": rule}}
        for rule, reason in off.items()
    ]
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": True, "toolConfigurationNotifications": notifications}],
        "results": results,
    }
    return json.dumps({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def as_junit(findings: Sequence[Finding], images: Sequence[Path]) -> str:
    """JUnit XML: one test case for each image, and for each other file with a finding.

    Errors fail their case; warnings and notes are its output, since they do not stop training either.
    """
    found: dict[Path, list[Finding]] = {image: [] for image in images}
    for finding in worst_first(findings):
        found.setdefault(finding.file, []).append(finding)
    failed = sum(any(finding.fatal for finding in of_file) for of_file in found.values())
    counts = {"name": "flux-lora check", "tests": str(len(found)), "failures": str(failed), "errors": "0", "time": "0"}
    suites = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(suites, "testsuite", counts)
    for file, of_file in found.items():
        _junit_case(suite, file, of_file)
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suites, encoding="unicode")


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Errors, then warnings, then notes; otherwise in the order they were found."""
    order = {severity: rank for rank, severity in enumerate(Severity)}
    return sorted(findings, key=lambda finding: order[finding.severity])


def counted(findings: Iterable[Finding]) -> str:
    """Counts by severity in words: "2 errors, 1 warning and 3 notes"."""
    counts = _counts(findings)
    parts = [f"{n} {severity}{'s' * (n != 1)}" for severity in Severity if (n := counts[severity])]
    if not parts:
        return "nothing to put right"
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]


def _counts(findings: Iterable[Finding]) -> Counter[Severity]:
    return Counter(finding.severity for finding in findings)


def _lines(found: Sequence[Finding]) -> list[str]:
    """Three lines at most for each finding, indented under their file."""
    width = max(len(finding.severity) for finding in found)
    margin = " " * (width + 4)
    lines: list[str] = []
    for finding in found:
        lines.append(f"  {finding.severity:<{width}}  {finding.problem} [{finding.rule}]")
        if finding.others:
            lines.append(f"{margin}with {', '.join(str(other) for other in finding.others)}")
        lines.append(f"{margin}fix: {finding.fix}")
    return lines


def _group(found: Sequence[Finding]) -> list[str]:
    """One rule that many files break: the files, then what is wrong with the first."""
    files = [str(finding.file) for finding in found]
    shown = files if found[0].fatal else files[:FEW]
    more = [f"and {len(files) - len(shown)} more"] if len(files) > len(shown) else []
    first = found[0]
    return [
        f"{len(files)} files: {', '.join([*shown, *more])}",
        f"  {first.severity}  {first.problem} (the first) [{first.rule}]",
        f"{' ' * (len(first.severity) + 4)}fix: {first.fix}",
        "",
    ]


def _plain(line: str) -> str:
    """One line, with newlines replaced and control characters escaped."""
    return CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode(), line.replace("\n", " "))


def _listed(findings: Sequence[Finding], rules: Sequence[Rule]) -> list[Rule]:
    """The rules, and one for each finding whose rule is not among them."""
    listed = {rule.id: rule for rule in rules}
    for finding in findings:
        listed.setdefault(finding.rule, Rule(finding.rule, finding.severity, finding.rule.replace("-", " ")))
    return list(listed.values())


def _sarif_result(finding: Finding, rule_index: int, root: Path | None) -> dict[str, object]:
    uri = _uri(finding.file, root)
    result: dict[str, object] = {
        "ruleId": finding.rule,
        "ruleIndex": rule_index,
        "level": finding.severity.value,
        "message": {"text": f"{finding.file.name} {finding.problem}. To put it right: {finding.fix}."},
        "locations": [_sarif_location(uri)],
        # Without the problem, whose numbers change: a finding keeps its identity while it gets better.
        "partialFingerprints": {"ruleAndFile/v1": sha256(f"{finding.rule}\n{uri}".encode()).hexdigest()},
    }
    if finding.others:
        result["relatedLocations"] = [_sarif_location(_uri(other, root)) for other in finding.others]
    return result


def _sarif_location(uri: str) -> dict[str, object]:
    """Hosts require a line even of an image."""
    return {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": {"startLine": 1}}}


def _uri(file: Path, root: Path | None) -> str:
    """Relative to `root` where the file lies in it."""
    path: PurePath = file
    if root is not None and file.is_relative_to(root):
        path = file.relative_to(root)
    elif file.is_absolute():
        return file.as_uri()
    return quote(path.as_posix().encode(errors="surrogateescape"))


def _junit_case(suite: ElementTree.Element, file: Path, findings: Sequence[Finding]) -> None:
    attributes = {"classname": _xml(str(file.parent)), "name": _xml(file.name), "time": "0"}
    case = ElementTree.SubElement(suite, "testcase", attributes)
    fatal = [finding for finding in findings if finding.fatal]
    if fatal:
        kinds = ", ".join(dict.fromkeys(finding.rule for finding in fatal))
        failure = ElementTree.SubElement(case, "failure", {"type": kinds, "message": _xml(fatal[0].problem)})
        failure.text = _xml("\n".join(_lines(fatal)))
    others = [finding for finding in findings if not finding.fatal]
    if others:
        ElementTree.SubElement(case, "system-out").text = _xml("\n".join(_lines(others)))


def _xml(text: str) -> str:
    """Text with U+FFFD for what XML 1.0 cannot hold."""
    return NOT_XML.sub("\ufffd", text)
