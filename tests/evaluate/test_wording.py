"""Numbers are said as a person says them."""

import pytest

from flux_lora.evaluate.report import bytes_in_words, duration, percent


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.31, "0.3 s"), (42, "42 s"), (372, "6 min 12 s"), (3600, "1 h 0 min"), (59.7, "1 min 0 s")]
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_sizes_and_shares() -> None:
    assert (bytes_in_words(1_340_000), bytes_in_words(900)) == ("1.3 MB", "900 bytes")
    assert (percent(0.863), percent(-0.04), percent(-0.001)) == ("86%", "−4%", "0%")
