"""What nearly every caption says is told with its share."""

from flux_lora.config.choices import SourceRole
from flux_lora.data.checks.caption_style import judge_repeats
from flux_lora.data.checks.subject_words import SubjectWords
from tests.data.checks.captioned import FOLDER, PROSE, samples, seen

ZUBO = SubjectWords("zubo", "mug", "product")
PLACES = ("table", "chair", "shelf", "meadow", "rock", "book", "boat", "bridge", "roof", "plate")


def test_good_captions_have_no_findings():
    assert seen(judge_repeats(samples(*PROSE), ZUBO)) == []


def test_a_ground_that_nineteen_of_twenty_captions_name_is_told_as_such():
    captions = [f"a zubo mug with a {place} on a white background" for place in PLACES + PLACES[:9]]
    (finding,) = judge_repeats(samples(*captions, "a zubo mug in the grass"), ZUBO)
    assert (finding.file, finding.rule) == (FOLDER, "repeated-text")
    assert finding.problem == "says 'white background' in 19 of 20 captions"


def test_one_word_is_enough():
    captions = [f"a smiling zubo mug beside a {place}" for place in PLACES]
    (finding,) = judge_repeats(samples(*captions), ZUBO)
    assert finding.problem == "says 'smiling' in 10 of 10 captions"


def test_the_longest_phrase_stands_for_its_parts():
    captions = [f"a zubo mug and a {place}, soft light from a large window" for place in PLACES]
    assert [each.problem for each in judge_repeats(samples(*captions), ZUBO)] == [
        "says 'soft light from a large window' in 10 of 10 captions"
    ]


def test_a_phrase_in_seven_of_ten_is_no_repeat():
    captions = [f"a zubo mug and a {place} on a white background" for place in PLACES[:7]]
    others = [f"a zubo mug and a {place} in the rain" for place in PLACES[7:]]
    assert seen(judge_repeats(samples(*captions, *others), ZUBO)) == []


def test_the_frame_of_a_caption_may_repeat():
    captions = [f"a photo of a zubo mug with a {place} in the background on the left" for place in PLACES]
    assert seen(judge_repeats(samples(*captions), ZUBO)) == []


def test_grounds_that_differ_are_no_repeat():
    colours = ("red", "blue", "green", "white", "black", "pink", "brown", "orange")
    assert seen(judge_repeats(samples(*(f"a zubo mug, {colour} background" for colour in colours)), ZUBO)) == []


def test_a_few_captions_prove_nothing():
    assert seen(judge_repeats(samples(*["a zubo mug on a white background"] * 5), ZUBO)) == []


def test_ordinary_images_are_not_counted():
    captions = [f"a mug with a {place} on a white background" for place in PLACES]
    assert seen(judge_repeats(samples(*captions, role=SourceRole.regularisation), ZUBO)) == []
