"""A run folder is told apart by what it was prepared from, and old folders still open."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from flux_lora.config.choices import SourceRole
from flux_lora.data.bucketing.buckets import Bucket
from flux_lora.data.bucketing.plan import BucketOptions, Plan, Prepared
from flux_lora.data.cache import EntryNames
from flux_lora.data.samples import Box, Sample
from flux_lora.errors import RunError
from flux_lora.runs.folder import RunFolder
from flux_lora.runs.manifest import (
    Contents,
    fingerprint_in,
    fingerprint_of,
    images_trained_on,
    refuse_other_contents,
)

KEYS = (
    EntryNames(latent="latent-00", texts=("text-00",), plains=("text-01",)),
    EntryNames(
        latent="latent-01",
        texts=("text-02", "text-03"),
        plains=("text-04", "text-05"),
        mask="mask-00",
        role=SourceRole.regularisation,
    ),
)
OLD_FOLDERS_SAY = "1da538a10f8a0afc4b4d742a1820055d"
"""Of these names and these exposures, by the code of commit 95017fd."""


def planned(*exposures: int) -> Plan:
    return Plan(
        tuple(
            Prepared(
                sample=Sample(Path(f"{number}.png"), "a mug"),
                bucket=Bucket(64, 64),
                scale=1.0,
                cropped=0.0,
                box=Box(0, 0, 64, 64),
                size=(64, 64),
                resolution=64,
                exposures=times,
            )
            for number, times in enumerate(exposures)
        ),
        BucketOptions(16, resolutions=(64,)),
    )


def test_a_fingerprint_is_what_it_has_been_since_version_0():
    assert fingerprint_of(planned(1, 3), KEYS) == OLD_FOLDERS_SAY


def test_another_entry_another_order_and_another_exposure_are_another_fingerprint():
    others = [(planned(1, 4), KEYS), (planned(1, 3), KEYS[::-1]), (planned(1, 3), (KEYS[0], KEYS[0]))]
    assert len({OLD_FOLDERS_SAY, *(fingerprint_of(plan, keys) for plan, keys in others)}) == 4


def test_an_image_in_two_buckets_counts_once_and_ordinary_images_not_at_all(tmp_path: Path):
    folder, subject, ordinary = RunFolder(tmp_path), SourceRole.subject.value, SourceRole.regularisation.value
    lines = [
        {"fingerprint": "f"},
        *(
            {"image": name, "role": role}
            for name, role in (("a", subject), ("a", subject), ("b", subject), ("c", ordinary))
        ),
        {"memory": "a mug", "seed": 1},
    ]
    assert not images_trained_on(folder) and fingerprint_in(folder) == ""
    folder.manifest.parent.mkdir()
    folder.manifest.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert images_trained_on(folder) == {"a", "b"} and fingerprint_in(folder) == "f"


def test_going_on_asks_for_the_same_images_and_the_same_base_wherever_they_are(tmp_path: Path):
    folder, contents = RunFolder(tmp_path), Contents("images", "base")
    refuse_other_contents(folder, contents)
    folder.manifest.parent.mkdir()
    folder.manifest.write_text(json.dumps(asdict(contents)))
    refuse_other_contents(folder, Contents("others", "another"))  # nothing was trained yet
    (folder.root / "checkpoints").mkdir()
    refuse_other_contents(folder, contents)
    with pytest.raises(RunError, match="images or captions have changed"):
        refuse_other_contents(folder, replace(contents, fingerprint="others"))
    with pytest.raises(RunError, match=r"model\.path leads to another base"):
        refuse_other_contents(folder, replace(contents, base="another"))
    folder.manifest.write_text(json.dumps({"fingerprint": "images"}))
    refuse_other_contents(folder, contents)  # an earlier version did not keep the base
