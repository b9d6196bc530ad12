"""Whether a run learns is said after a twentieth of it: seen on real runs of the mini base at three rates."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from flux_lora.config.choices import OptimizerName
from flux_lora.config.compose import compose_config
from flux_lora.runs.encoding import encode_dataset
from flux_lora.runs.learning_check import LEAST, MOST, Moved, moved_in_words, rate_in_words
from flux_lora.runs.preflight import preflight
from flux_lora.runs.run import Run, Silent
from flux_lora.runs.training import train_adapter
from flux_lora.train.reporters import Jsonl

NOTHING, TOO_FAST = "nothing is being learned", "far too fast"
STEPS = 400
SHORT = (
    "train.warmup_steps=5", "train.save_every=400", "train.preservation=0", "train.class_images=0", "preview.every=0",
    "evaluate.held_out_losses=0", "check.page=false",
)  # fmt: skip


class SeenEnough(Exception):  # noqa: N818
    """What was measured; training need not go on."""


class Watcher(Jsonl):
    def measured(self, number: int, facts: Mapping[str, float]) -> None:
        raise SeenEnough(number, dict(facts))


class Heard(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.mark.parametrize(("rate", "said"), [("3e-3", ""), ("3e-5", NOTHING), ("9e-2", TOO_FAST)])
def test_a_rate_that_is_100_times_too_small_or_30_times_too_large_is_named_at_step_20_of_400(
    rate: str, said: str, tmp_path: Path
):
    words = (
        "recipe=demo",
        f"run.dir={tmp_path}",
        f"train.learning_rate={rate}",
        f"train.steps={STEPS}",
        "train.batch_size=2",
        *SHORT,
    )
    heard = Heard()
    run = Run(compose_config(words), heard)
    dataset = preflight(run)
    run.begin()
    prepared = encode_dataset(run, dataset)
    with pytest.raises(SeenEnough) as seen:
        train_adapter(run, prepared, Watcher(tmp_path / "watched.jsonl"))
    number, facts = seen.value.args
    assert number == STEPS // 20 and set(facts) == {"relative_update", "answers_moved"}
    (line,) = [line for line in heard.lines if "the update is" in line]
    assert (NOTHING in line, TOO_FAST in line) == (said == NOTHING, said == TOO_FAST), line
    (start,) = [line for line in heard.lines if line.startswith("effective rate")]
    assert ("within" in start) == (not said), start


@pytest.mark.parametrize(
    ("answers", "said"), [(LEAST / 2, NOTHING), (LEAST * 2, ""), (MOST * 1.1, TOO_FAST), (float("nan"), TOO_FAST)]
)
def test_what_is_far_off_comes_with_the_way_out(answers: float, said: str):
    line = moved_in_words(Moved(update=0.01, answers=answers), 100)
    assert line.startswith("after 100 steps the update is 1.00% of the weights it changes")
    assert (NOTHING in line, TOO_FAST in line) == (said == NOTHING, said == TOO_FAST)
    assert ("train.learning_rate" in line) == bool(said)


WORDS = ("recipe=product", "data.folder=photos", "data.trigger=zorb", "data.class_word=mug")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            (),
            "rate 1.0e-04 (train.learning_rate * adapter.alpha / adapter.rank), within the 5.0e-05 to 4.0e-04",
        ),
        (("adapter.alpha=1",), "effective rate 3.1e-06"),  # what sd-scripts' defaults come to
        (("adapter.alpha=1",), "below the 5.0e-05 to 4.0e-04 known to work with adamw on FLUX.1-dev"),
        (("train.learning_rate=1e-3",), "above the"),
        (("train.optimizer=lion",), "within the 5.0e-06 to 1.3e-04 known to work with lion"),
        (("model.learning_rates=[]",), "effective rate 1.0e-04"),
        (
            ("adapter.kind=lokr", "export.dialects=[lycoris]", "evaluate.strengths=[1.0]"),
            "LoKr learned next to nothing",
        ),
    ],
)
def test_the_effective_rate_is_said_with_the_band_that_works(words: tuple[str, ...], said: str):
    assert said in rate_in_words(compose_config([*WORDS, *words]))


def test_prodigy_finds_its_rate_and_none_is_said():
    words = (f"train.optimizer={OptimizerName.prodigy}", "train.learning_rate=1")
    assert rate_in_words(compose_config([*WORDS, *words])) == ""
