"""What crops must keep of each picture, found once for each file as it is, and remembered with the glances."""

from pathlib import Path

from flux_lora.data.box import Box
from flux_lora.data.cache.glances import add_subject_boxes, read_subject_boxes, signature
from flux_lora.data.planning.plan import Keep
from flux_lora.data.samples import Sample

FINDING = "1"
"""Raise it when another part of a picture would be found than before."""


class SubjectBoxes:
    """Finds the part, or knows it from an earlier run. Nothing is written before `write`."""

    def __init__(self, folder: Path, find: Keep, *about: str) -> None:
        """With what is known in the cache of `folder`. `about`: all but the files that what is found depends on."""
        self._known = dict(read_subject_boxes(folder))
        self._found: dict[str, Box | None] = {}
        self._find = find
        self._about = about

    def box_of(self, sample: Sample) -> Box | None:
        """What is to be kept of the sample's picture."""
        files = [sample.image, *([sample.mask] if sample.mask else [])]
        each = signature(files, FINDING, *self._about)
        if each in self._known:
            return self._known[each]
        part = self._find(sample)
        if each:
            self._known[each] = self._found[each] = part
        return part

    def write(self, folder: Path) -> None:
        """Keep what was found anew."""
        if self._found:
            add_subject_boxes(folder, self._found)
            self._found = {}
