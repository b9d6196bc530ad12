"""The table of packed bases: spreads are of seeds within a subject, differences are paired."""

from benchmarks.subjects.precision import BASES, SUBJECTS, TRAINED_WITH, Found, _page


def test_a_subject_that_is_harder_is_no_spread_and_what_each_run_lost_is_the_difference():
    found = {
        (base, number, seed): Found(strict=0.5 * which - 0.1 * (base == "nf4"), parts=0.5 + 0.1 * seed, fall=0.2)
        for base in BASES
        for which, number in enumerate(SUBJECTS)
        for seed in TRAINED_WITH
    }
    rows = {line.split(" | ")[0].strip("| "): line for line in _page(found) if line.startswith("| ")}
    assert rows["bf16"] == "| bf16 | 25.0% ± 0.0% | 60.0% ± 10.0% | 20.0% ± 0.0% | +0.0% | +0.0% |"
    assert rows["nf4"] == "| nf4 | 15.0% ± 0.0% | 60.0% ± 10.0% | 20.0% ± 0.0% | -10.0% | +0.0% |"
