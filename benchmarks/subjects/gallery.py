"""Which subjects are tuned on, and which are only ever reported on."""

from benchmarks.subjects.subject import Subject, subject_of

TUNED = tuple(range(8))
"""Numbers of the subjects that thresholds and recipes may be tuned on."""
REPORTED = tuple(range(100, 108))
"""Numbers of the subjects whose results are printed and which decide nothing."""


def tuned_subjects() -> tuple[Subject, ...]:
    """Half products, half characters."""
    return tuple(subject_of(number) for number in TUNED)


def reported_subjects() -> tuple[Subject, ...]:
    """Half products, half characters."""
    return tuple(subject_of(number) for number in REPORTED)
