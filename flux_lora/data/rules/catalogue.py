"""Every rule there is, by its id."""

from difflib import get_close_matches

from flux_lora.data import seen
from flux_lora.data.findings import Rule
from flux_lora.data.rules import (
    bound,
    captions,
    characters,
    fit,
    language,
    letters,
    pictures,
    repeats,
    spellings,
    tokens,
    trigger,
    twins,
    whole,
    wording,
)
from flux_lora.data.sources import rules as sources
from flux_lora.errors import DataError

ALL_RULES: tuple[Rule, ...] = (
    *sources.RULES,
    *seen.RULES,
    *captions.RULES,
    *trigger.RULES,
    *tokens.RULES,
    *wording.RULES,
    *characters.RULES,
    *bound.RULES,
    *repeats.RULES,
    *spellings.RULES,
    *language.RULES,
    *pictures.RULES,
    *twins.RULES,
    *whole.RULES,
    *letters.RULES,
    *fit.RULES,
)


def rule(id: str) -> Rule:
    """The rule of an id."""
    for each in ALL_RULES:
        if each.id == id:
            return each
    near = get_close_matches(id, [each.id for each in ALL_RULES], n=1)
    raise DataError(
        f"no rule of check is called {id!r}",
        fix=f"did you mean {near[0]!r}?" if near else "take an id as check prints it, such as no-caption",
    )
