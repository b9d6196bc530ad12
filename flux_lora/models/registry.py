"""Which model families there are. The only file that names one."""

from collections.abc import Collection, Sequence

from flux_lora.models.family import ModelFamily, ModelSource
from flux_lora.models.flux1.family import FLUX1
from flux_lora.models.flux2.family import FLUX2_DEV, KLEIN
from flux_lora.models.flux3.family import FLUX3

FAMILIES: tuple[ModelFamily, ...] = (*FLUX1, *KLEIN, FLUX2_DEV, *FLUX3)


def family_with(modules: Collection[str], families: Sequence[ModelFamily] = FAMILIES) -> ModelFamily:
    """The family that has most of these modules; the first where several do. Sizes of one family share their names."""
    return max(families, key=lambda family: len(set(modules) & set(family.adapted_modules())))


def family_of(source: ModelSource, families: Sequence[ModelFamily] = FAMILIES) -> ModelFamily:
    """The family of a base on this disk. Of a hub id no file may be here yet: then that of the release whose name is in
    it, as finetunes have it, else the first."""
    recognised = next((family for family in families if family.recognises(source)), None)
    return recognised or max(families, key=lambda family: _longest_name_in(source.path, family))


def _longest_name_in(path: str, family: ModelFamily) -> int:
    names = (release.hub.rpartition("/")[2].lower() for release in family.programs.releases)
    return max((len(name) for name in names if name and name in path.lower()), default=0)
