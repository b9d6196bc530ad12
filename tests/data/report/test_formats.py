"""What other programs read: whole, closed against other people's text, and with one identity for each finding."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flux_lora.config.choices import Severity
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.report.formats import as_json, as_junit, as_sarif, as_text, counted

NO_CAPTION = Rule("no-caption", Severity.error, "An image without a caption teaches all of itself to every prompt.")
SMALL = Rule("small", Severity.warning, "A small image is enlarged, and trains blurred.")
CMYK = Rule("cmyk", Severity.note, "The image was made for print.")
CUP, POT, JAR = Path("photos/cup.jpg"), Path("photos/a pot%.jpg"), Path("photos/jar.jpg")
FINDINGS = (
    SMALL.at(CUP, "is 200x200", "use a larger image"),
    CMYK.at(POT, "is CMYK", "nothing to do"),
    NO_CAPTION.at(CUP, "has no caption", "write one in cup.txt"),
    SMALL.at(POT, "is 300x300", "use a larger image", (CUP,)),
)
HOSTILE = "cup\x1b[2J\x00\u202egpj.\udcff]]>&<b>\"'\n::error::"

anything = st.text(alphabet=st.characters(), max_size=40)
findings = st.builds(
    Finding,
    file=anything.map(lambda name: Path(name.replace("\x00", "") or "x")),
    rule=st.sampled_from(["no-caption", "other"]),
    problem=anything,
    fix=anything,
    severity=st.sampled_from(list(Severity)),
)


def test_text_names_each_file_once_and_the_worst_first() -> None:
    lines = as_text(FINDINGS).splitlines()
    assert [line for line in lines if line.startswith("photos/")] == ["photos/cup.jpg", "photos/a pot%.jpg"]
    assert lines[1].split() == ["error", "has", "no", "caption", "[no-caption]"]
    assert lines[2].strip() == "fix: write one in cup.txt"
    assert lines[-1] == "1 error, 2 warnings and 1 note"


@pytest.mark.parametrize(("rule", "named"), [(NO_CAPTION, 13), (SMALL, 3)])
def test_what_many_files_have_is_said_once_and_errors_name_them_all(rule: Rule, named: int) -> None:
    many = [rule.at(Path(f"photos/{number}.jpg"), f"is number {number}", "look") for number in range(13)]
    text = as_text([*many, CMYK.at(JAR, "is CMYK", "nothing to do")])
    assert text.count(f"[{rule.id}]") == 1 and "is number 0 (the first)" in text
    assert sum(f"photos/{number}.jpg" in text for number in range(13)) == named
    assert len(text.splitlines()) < 12


def test_a_few_files_are_told_one_by_one() -> None:
    few = [NO_CAPTION.at(Path(f"photos/{number}.jpg"), f"is number {number}", "look") for number in range(12)]
    assert all(f"is number {number} [no-caption]" in as_text(few) for number in range(12))


def test_text_names_the_other_images_of_a_finding() -> None:
    assert "with photos/cup.jpg" in as_text(FINDINGS)


def test_a_set_without_findings_is_said_to_be_in_order() -> None:
    assert as_text(()) == "nothing to put right"
    assert counted(FINDINGS[:1]) == "1 warning"


def test_a_file_name_cannot_steer_the_terminal_or_look_like_another_line() -> None:
    text = as_text([NO_CAPTION.at(Path(HOSTILE), HOSTILE, "rename it")])
    assert not {"\x1b", "\x00", "\u202e", "\udcff"} & set(text)
    assert "\\x1b[2J" in text
    assert not [line for line in text.splitlines() if line.startswith("::error::")]
    text.encode("utf-8")


def test_json_holds_counts_and_everything_a_finding_says() -> None:
    told = json.loads(as_json(FINDINGS, images=3, version="1.2", off={"blur": "all are shot at dusk"}))
    assert (told["pictures"], told["errors"], told["warnings"], told["notes"]) == (3, 1, 2, 1)
    assert told["off"] == {"blur": "all are shot at dusk"}
    assert told["findings"][0] == {
        "file": "photos/cup.jpg",
        "rule": "no-caption",
        "severity": "error",
        "problem": "has no caption",
        "fix": "write one in cup.txt",
        "others": [],
    }
    assert told["findings"][2]["others"] == ["photos/cup.jpg"]


def test_sarif_has_what_its_schema_and_code_hosts_require() -> None:
    log = json.loads(as_sarif(FINDINGS, (NO_CAPTION, SMALL), "1.2", off={"small": "no larger ones"}))
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-2.1.0.json")
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert (driver["name"], driver["version"]) == ("flux-lora", "1.2")
    assert [rule["id"] for rule in driver["rules"]] == ["no-caption", "small", "cmyk"]
    assert [rule["defaultConfiguration"]["enabled"] for rule in driver["rules"]] == [True, False, True]
    assert all(rule["shortDescription"]["text"] for rule in driver["rules"])
    (told,) = run["invocations"][0]["toolConfigurationNotifications"]
    assert told["message"]["text"] == "small is switched off: no larger ones"
    for result in run["results"]:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note")
        assert result["message"]["text"].endswith(".")
        (location,) = result["locations"]
        assert location["physicalLocation"]["region"]["startLine"] == 1
        assert location["physicalLocation"]["artifactLocation"]["uri"] in ("photos/cup.jpg", "photos/a%20pot%25.jpg")
    assert len(run["results"]) == len(FINDINGS)
    (other,) = run["results"][2]["relatedLocations"]
    assert other["physicalLocation"]["artifactLocation"]["uri"] == "photos/cup.jpg"


def test_sarif_names_files_from_the_root_of_the_repository() -> None:
    root = Path("/shop/photos")
    findings = [
        NO_CAPTION.at(root / "cup.jpg", "has none", "write"),
        NO_CAPTION.at(Path("/x.jpg"), "has none", "write"),
    ]
    (run,) = json.loads(as_sarif(findings, (), "1", root=root.parent))["runs"]
    places = [result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in run["results"]]
    assert places == ["photos/cup.jpg", "file:///x.jpg"]


def test_a_finding_keeps_its_identity_in_sarif_while_its_numbers_change() -> None:
    def identity(finding: Finding) -> str:
        (run,) = json.loads(as_sarif([finding], (SMALL,), "1"))["runs"]
        return run["results"][0]["partialFingerprints"]["ruleAndFile/v1"]

    assert identity(SMALL.at(CUP, "is 200x200", "")) == identity(SMALL.at(CUP, "is 250x250", ""))
    assert identity(SMALL.at(CUP, "is 200x200", "")) != identity(SMALL.at(POT, "is 200x200", ""))


def test_junit_has_a_case_for_every_image_and_fails_those_with_errors() -> None:
    suite = ElementTree.fromstring(as_junit(FINDINGS, (CUP, POT, JAR)))[0]
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")
    cases = {case.get("name"): case for case in suite}
    assert set(cases) == {"cup.jpg", "a pot%.jpg", "jar.jpg"}
    failure = cases["cup.jpg"].find("failure")
    assert failure is not None
    assert (failure.get("type"), failure.get("message")) == ("no-caption", "has no caption")
    assert "fix: write one in cup.txt" in (failure.text or "")
    assert "small" in (cases["cup.jpg"].findtext("system-out") or "")
    assert cases["a pot%.jpg"].find("failure") is None
    assert not list(cases["jar.jpg"])


def test_a_finding_about_the_folder_has_a_case_of_its_own() -> None:
    suite = ElementTree.fromstring(as_junit([NO_CAPTION.at(Path("photos"), "holds none", "add")], (CUP,)))[0]
    assert [case.get("name") for case in suite] == ["cup.jpg", "photos"]
    assert suite.get("failures") == "1"


@settings(max_examples=60)
@given(st.lists(findings, max_size=4))
def test_any_words_make_json_sarif_and_xml_that_can_be_read_back(found: list[Finding]) -> None:
    told = json.loads(as_json(found, images=1, version="1"))
    assert sorted(each["problem"] for each in told["findings"]) == sorted(each.problem for each in found)
    (run,) = json.loads(as_sarif(found, (NO_CAPTION,), "1"))["runs"]
    assert len(run["results"]) == len(found)
    suite = ElementTree.fromstring(as_junit(found, ()).encode())[0]
    assert len(suite) == len({each.file for each in found})
    as_text(found).encode("utf-8")


@pytest.mark.parametrize("severity", list(Severity))
def test_sarif_levels_are_our_severities(severity: Severity) -> None:
    (run,) = json.loads(as_sarif([Finding(CUP, "x", "is", "do", severity)], (), "1"))["runs"]
    assert run["results"][0]["level"] == severity.value
