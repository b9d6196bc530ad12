"""Memory for finding samples grows by what a sample weighs, and by little else."""

from benchmarks.sources import cost_of, lay_out

KIB = 1024


def test_a_sample_weighs_less_than_a_kibibyte_and_finding_it_little_more(tmp_path):
    few, many = (cost_of(lay_out(tmp_path / str(count), count, flat=True), count) for count in (200, 600))
    assert (many.held - few.held) / 400 <= 0.85 * KIB
    assert (many.peak - few.peak) / 400 <= 1.4 * KIB
