"""The samples of one folder, as most tests of data/ begin."""

from pathlib import Path

from flux_lora.config.data import SourceConfig
from flux_lora.data.samples import Sample
from flux_lora.data.sources.find import find
from flux_lora.data.sources.source import SourceOptions


def find_samples(folder: Path) -> list[Sample]:
    """The samples directly in a folder, sorted by name. Sub-folders, held_out among them, are left alone."""

    return list(find([SourceConfig(path=str(folder))], SourceOptions(recursive=False)).samples)
