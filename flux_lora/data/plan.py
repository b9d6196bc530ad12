"""Choose a bucket for each sample from its size alone; no pixels are read and nothing is dropped."""

from collections.abc import Sequence
from dataclasses import dataclass

from flux_lora.data.buckets import Bucket, bucket_for
from flux_lora.data.decode import upright_size
from flux_lora.data.samples import Sample


@dataclass(frozen=True)
class Prepared:
    """A sample with its bucket chosen, and what that costs it."""

    sample: Sample
    bucket: Bucket
    scale: float
    """Above 1 the picture is enlarged to fill its bucket, and will train as blurred as that looks."""
    cropped: float
    """Share of the picture that falls outside the bucket, 0 to 1."""


def plan(samples: Sequence[Sample], resolution: int) -> list[Prepared]:
    """Every sample, in order, with its bucket."""
    return [_prepared(sample, resolution) for sample in samples]


def _prepared(sample: Sample, resolution: int) -> Prepared:
    width, height = upright_size(sample.image)
    bucket = bucket_for(width, height, resolution)
    scale = max(bucket.width / width, bucket.height / height)
    kept = (bucket.width * bucket.height) / (width * height * scale**2)
    return Prepared(sample=sample, bucket=bucket, scale=scale, cropped=1 - kept)
