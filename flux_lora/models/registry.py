"""Which model families there are. The only file that names one."""

from collections.abc import Collection, Sequence

from flux_lora.models.family import ModelFamily, ModelSource
from flux_lora.models.flux1.family import Flux1
from flux_lora.models.flux2.family import KLEIN

FAMILIES: tuple[ModelFamily, ...] = (Flux1(), *KLEIN)


def family_with(modules: Collection[str], families: Sequence[ModelFamily] = FAMILIES) -> ModelFamily:
    """The family that has most of these modules; the first where several do. Sizes of one family share their names."""
    return max(families, key=lambda family: len(set(modules) & set(family.adapted_modules())))


def family_of(source: ModelSource, families: Sequence[ModelFamily] = FAMILIES) -> ModelFamily:
    """The family of a base on this disk; the first one for a hub id, of which no file may be here yet."""
    return next((family for family in families if family.recognises(source)), families[0])
