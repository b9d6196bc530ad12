"""Which model families there are. The only file that names one."""

from collections.abc import Sequence

from flux_lora.models.family import ModelFamily, ModelSource
from flux_lora.models.flux1.family import Flux1

FAMILIES: tuple[ModelFamily, ...] = (Flux1(),)


def family_of(source: ModelSource, families: Sequence[ModelFamily] = FAMILIES) -> ModelFamily:
    """The family of a base on this disk; the first one for a hub id, of which no file may be here yet."""
    return next((family for family in families if family.recognises(source)), families[0])
