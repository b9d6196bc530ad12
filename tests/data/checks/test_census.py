"""Every rule of check speaks of what it is there for, and is silent just beside it."""

from dataclasses import replace
from pathlib import Path
from string import ascii_letters

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from flux_lora.data.checks.registry import ALL_RULES
from tests.data.checks.census.captions import CAPTIONS, UNREADABLE_LETTERS
from tests.data.checks.census.files import FILES
from tests.data.checks.census.images import IMAGES
from tests.data.checks.conftest import Tokenizers

NEEDS = {"other-language": "py3langid", "misspelled": "spellchecker", "captions-unchecked": "spellchecker"}
"""Rules that are silent without an optional library."""


def test_every_rule_has_one_case_of_each_kind():
    assert sorted([*CAPTIONS, *IMAGES, *FILES, "unreadable-letters"]) == sorted(rule.id for rule in ALL_RULES)


@pytest.fixture
def plain_tokenizers(mini_tokenizers: Tokenizers) -> Tokenizers:
    """With a T5 that has no token but for plain letters, as FLUX.1's has none for many scripts."""
    letters = [(letter, -1.0) for letter in ("▁", *ascii_letters)]
    spelled = Tokenizer(models.Unigram([("<unk>", 0.0), *letters], unk_id=0))
    spelled.pre_tokenizer = pre_tokenizers.Metaspace()
    t5, clip = mini_tokenizers
    return replace(t5, tokenizer=PreTrainedTokenizerFast(tokenizer_object=spelled, unk_token="<unk>")), clip


def test_letters_that_the_base_has_no_token_for_are_named_and_others_not(plain_tokenizers: Tokenizers):
    wrong, near = UNREADABLE_LETTERS
    assert "unreadable-letters" in wrong.rules(plain_tokenizers)
    assert "unreadable-letters" not in near.rules(plain_tokenizers)


@pytest.mark.parametrize("rule", CAPTIONS)
def test_a_rule_on_captions_speaks_of_wrong_ones_and_not_of_near_misses(rule: str, mini_tokenizers: Tokenizers):
    pytest.importorskip(NEEDS.get(rule, "pytest"))
    wrong, near = CAPTIONS[rule]
    assert rule in wrong.rules(mini_tokenizers)
    assert rule not in near.rules(mini_tokenizers)


@pytest.mark.parametrize("rule", IMAGES)
def test_a_rule_on_images_speaks_of_wrong_ones_and_not_of_near_misses(rule: str):
    wrong, near = IMAGES[rule]
    assert rule in {finding.rule for finding in wrong()}
    assert rule not in {finding.rule for finding in near()}


@pytest.mark.parametrize("rule", FILES)
def test_a_rule_on_files_speaks_of_wrong_ones_and_not_of_near_misses(rule: str, tmp_path: Path):
    pytest.importorskip(NEEDS.get(rule, "pytest"))
    wrong, near = FILES[rule]
    for judged, expected in ((wrong, True), (near, False)):
        folder = tmp_path / str(expected)
        folder.mkdir()
        assert (rule in {finding.rule for finding in judged(folder)}) == expected
