"""The scores against the truth: adapters of `spoiled`, judged by the package and by the judge that knows the parts.

    python -m benchmarks.subjects.judged FOLDER ...          prints the tables
    python -m benchmarks.subjects.judged FOLDER ... --write  and keeps them in benchmarks/results/judged.md

Several folders are several training seeds. Truth is by benchmarks.subjects.judge for the subject and by
scripts.mini.judge, which reads scenes, for the rest.
"""

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.subjects.gallery import JUDGED, judged_subjects, reported_subjects, tuned_subjects
from benchmarks.subjects.judge import judge_image
from benchmarks.subjects.spoiled import BASE, SCENES, SEEDS, UNRELATED
from benchmarks.subjects.subject import Subject
from flux_lora.evaluate.baseline import Baseline, Judges, Photos, measure_baseline, sort_images
from flux_lora.evaluate.choice import LIMITS, ChoiceLimits, choose_checkpoint, has_learned, is_overdriven
from flux_lora.evaluate.clip import load_scorer
from flux_lora.evaluate.features import colour_tokens
from flux_lora.evaluate.prompts import Suite, read_prompts
from flux_lora.evaluate.scores import Score, score
from flux_lora.models.flux1.family import Flux1
from flux_lora.models.flux1.latents import encode_pixels
from flux_lora.models.flux1.load import load_vae
from flux_lora.train.reporters import read_metrics
from scripts.mini.captions import ground_words
from scripts.mini.judge import Judge, load_judge
from scripts.mini.world import GROUNDS

RESULT = Path(__file__).parents[1] / "results" / "judged.md"
BOUNDS = ChoiceLimits()
LEARNED, GOOD = 0.2, 0.5
"""Share of strict images from which an adapter has learned its subject, in truth, and from which it is a good one."""
SAME = 14.0
"""Root mean square difference of 32 x 32 pixels, of 255, up to which an image is a training photo again."""
COPIED = 0.2
"""Share of such images from which an adapter copies, in truth."""
BLED, CHANGED, LOST = 0.25, 0.5, 0.7
"""In truth: most class images that show the subject mildly; least scenes without the trigger that are the base's;
least grounds that are followed."""


@dataclass(frozen=True)
class Truth:
    """What is so, in shares of images."""

    strict: float
    mild: float
    parts: float
    """Share of the parts that are there, on average."""
    ground: float
    copied: float
    """Share of the images that are a training photo again."""
    class_mild: float
    class_same: float
    other_same: float

    @classmethod
    def read(cls, file: Path) -> "Truth":
        """As it was kept."""
        return cls(**json.loads(file.read_text()))

    @property
    def value(self) -> float:
        """What a person would get: whole subjects on the asked grounds, less what bled into the class."""
        return max(0.0, self.strict * self.ground - self.class_mild)

    @property
    def spoils(self) -> bool:
        """Whether it breaks something that is not the subject."""
        return self.class_mild > BLED or self.other_same < CHANGED or self.ground < LOST or self.copied > COPIED


@dataclass(frozen=True)
class Known:
    """What the truth about a subject's adapters is told by."""

    subject: Subject
    suite: Suite
    base: Sequence[Image.Image]
    photos: Sequence[Image.Image]
    """Those trained on, as the base's VAE gives them back."""
    judge: Judge


@dataclass(frozen=True)
class Judged:
    """One adapter: what the package says, and what is so."""

    subject: Subject
    folder: Path
    """Of its training seed."""
    name: str
    score: Score
    truth: Truth

    @property
    def broken(self) -> tuple[str, ...]:
        """Names of the limits that it breaks, and whether it is too strong."""
        names = [limit.metric.name for limit in LIMITS if not limit.keeps(self.score, BOUNDS)]
        return (*names, *(["overdriven"] if is_overdriven(self.score, BOUNDS) else []))


def main() -> None:
    """Print the tables."""
    torch.set_num_threads(1)
    folders = [Path(word) for word in sys.argv[1:] if word != "--write"]
    subjects = (*tuned_subjects(), *reported_subjects(), *judged_subjects())
    places = [(s, folder) for folder in folders for s in subjects if (folder / "renders" / s.name / BASE).is_dir()]
    judged = [one for subject, folder in places for one in _judge_subject(subject, folder)]
    text = "\n".join(_page(judged)) + "\n"
    print(text)
    if "--write" in sys.argv:
        RESULT.write_text(text)


def _judge_subject(subject: Subject, folder: Path) -> Iterator[Judged]:
    renders = folder / "renders" / subject.name
    names = sorted(place.name for place in renders.iterdir() if (place / "done").is_file() and place.name != BASE)
    judge, base = load_judge(), images_in(renders / BASE)
    photos = softened(images_in(folder / "photos" / subject.name))
    suite, baseline = _baseline(subject, folder / "photos" / subject.name, base)
    known = Known(subject, suite, base, photos, judge)
    for name in names:
        images = images_in(renders / name)
        found = score(baseline, sort_images(images, suite), step=_step(name), strength=1.0)
        yield Judged(subject, folder, name, found, truth_of(known, images, renders / name))


def _baseline(subject: Subject, photos: Path, base: list[Image.Image]) -> tuple[Suite, Baseline]:
    full = read_prompts(photos / "prompts.txt", subject.trigger, subject.class_word)
    suite = replace(
        full, trigger=full.trigger[:SCENES], class_=full.class_[:SCENES], unrelated=full.unrelated[:UNRELATED]
    )
    as_rendered = Photos(softened(images_in(photos / "held_out")), softened(images_in(photos)), softened)
    judges = Judges(load_scorer("mini"), (colour_tokens,))
    return suite, measure_baseline(judges, suite, sort_images(base, suite), as_rendered, pixels_per_token=16)


def truth_of(known: Known, images: Sequence[Image.Image], place: Path) -> Truth:
    """Kept beside the images: looking at them for parts takes a second each."""
    kept = place / "truth.json"
    if kept.is_file():
        return Truth.read(kept)
    count = SCENES * len(SEEDS)
    shown = [judge_image(image, known.subject.parts) for image in images[:count]]
    in_class = [judge_image(image, known.subject.parts) for image in images[count : 2 * count]]
    before, after = known.judge.see(known.base), known.judge.see(images)
    same = [one == other for one, other in zip(before, after, strict=True)]
    wanted = [next(g for g in GROUNDS if ground_words(g) in prompt) for prompt in known.suite.trigger for _ in SEEDS]
    truth = Truth(
        strict=_mean([each.strict for each in shown]),
        mild=_mean([each.mild for each in shown]),
        parts=_mean([each.share for each in shown]),
        ground=_mean([seen.ground == ground for seen, ground in zip(after, wanted, strict=False)]),
        copied=_mean([_is_one_of(image, known.photos) for image in images[:count]]),
        class_mild=_mean([each.mild for each in in_class]),
        class_same=_mean(same[count : 2 * count]),
        other_same=_mean(same[2 * count :]),
    )
    kept.write_text(json.dumps(asdict(truth)))
    return truth


def _is_one_of(image: Image.Image, photos: Sequence[Image.Image]) -> bool:
    """Whether it is one of the photos, pixel by pixel at 32 x 32."""
    pixels, *others = (np.asarray(each.convert("RGB").resize((32, 32)), np.float64) for each in (image, *photos))
    return min(float(np.sqrt(np.square(pixels - other).mean())) for other in others) <= SAME


def _page(judged: Sequence[Judged]) -> Iterator[str]:
    yield "# The evaluator against the truth"
    yield ""
    yield (
        "Subjects that the mini base has never seen, adapters good and spoiled on purpose "
        "(`benchmarks.subjects.spoiled`), judged by the package from pictures alone and by a judge that knows the "
        "subject's parts. Bounds and thresholds were set on the tuned subjects alone; the reported ones were looked at "
        "once, after that, and decided nothing. Which is which, and by what rule they were taken, stands in "
        "`benchmarks/subjects/gallery.py`. A subject that comes twice was trained with another seed."
    )
    for name, part in (("Reported", True), ("Looked at before", False)):
        these = [one for one in judged if (one.subject.number in JUDGED) == part]
        if these:
            yield from (
                "",
                f"## {name}: {len({one.subject.name for one in these})} subjects, {len(these)} adapters",
                "",
            )
            yield from _summary(these)
            yield from ("", *_choices(these), "", *_table(these))


def _summary(judged: Sequence[Judged]) -> Iterator[str]:
    said = [has_learned(one.score, BOUNDS) for one in judged]
    so = [one.truth.strict >= LEARNED for one in judged]
    passed = [learned and not one.broken for learned, one in zip(said, judged, strict=True)]
    good = [one.truth.strict >= GOOD and not one.truth.spoils for one in judged]
    spoiled = [one.truth.spoils for one in judged]
    kept = [each and one.truth.class_same >= CHANGED for each, one in zip(good, judged, strict=True)]
    strict, parts = [one.truth.strict for one in judged], [one.truth.parts for one in judged]
    yield "| claim | right | of |"
    yield "| --- | ---: | ---: |"
    agree = [a == b for a, b in zip(said, so, strict=True)]
    clear = [not low <= LEARNED <= high for low, high in (_wilson(one.truth.strict) for one in judged)]
    noisy = [one.name.endswith(("noisy", "strong")) for one in judged]
    calm = [one.name.startswith("held") and not bad for bad, one in zip(noisy, judged, strict=True)]
    bled = [one.truth.class_mild > BLED for one in judged]
    refused = [bool(one.broken) or not learned for learned, one in zip(said, judged, strict=True)]
    worthless = [one.truth.strict < LEARNED for one in judged]
    copied = [one.truth.copied > COPIED for one in judged]
    bleeding, artefacts, copying = (
        [name in one.broken for one in judged] for name in ("bleeding", "artefacts", "copying")
    )
    driven = [is_overdriven(one.score, BOUNDS) for one in judged]
    either = [a or b for a, b in zip(artefacts, driven, strict=True)]
    claims = {
        f"learned or not, as the truth judge says ({LEARNED:.0%} strict)": (agree, [True] * len(agree)),
        f"the same where the truth is sure: its own interval leaves {LEARNED:.0%} out": (agree, clear),
        "spoiled ones do not pass": (refused, spoiled),
        f"good ones pass ({GOOD:.0%} strict, nothing spoiled)": (passed, good),
        f"the same where the class is kept too ({CHANGED:.0%} of its images as the base's)": (passed, kept),
        "class bleeding is named": (bleeding, bled),
        "no bleeding where there is none": (_not(bleeding), _not(bled)),
        "copies are named": (copying, copied),
        "no copying where there is none": (_not(copying), _not(copied)),
        "noise is named artefacts": (artefacts, [one.name.endswith("noisy") for one in judged]),
        "strength 4 is named artefacts or overdriven": (either, [one.name.endswith("strong") for one in judged]),
        "no artefacts in checkpoints of a calm run": (_not(artefacts), calm),
        "nothing else is called overdriven": (_not(driven), _not(noisy)),
        f"never passes below {LEARNED:.0%} strict": (_not(passed), worthless),
    }
    for claim, (hits, among) in claims.items():
        yield f"| {claim} | {_share(hits, among)} |"
    yield ""
    for name in ("likeness", "recognised", "retrieval"):
        values = [one.score[name].value for one in judged]
        yield (
            f"Correlation of {name} with the truth: {np.corrcoef(values, strict)[0, 1]:.2f} with strict, "
            f"{np.corrcoef(values, parts)[0, 1]:.2f} with the share of parts.  "
        )


def _choices(judged: Sequence[Judged]) -> Iterator[str]:
    """The choice within each run, beside the last checkpoint and the one of lowest training loss."""
    rows, regrets, over_last, over_loss = [], [], [], []
    for subject, folder in dict.fromkeys((one.subject, one.folder) for one in judged):
        own = [one for one in judged if one.subject is subject and one.folder == folder]
        for run in ("held", "free"):
            these = {one.score.step: one for one in own if _is_checkpoint(one.name, run)}
            if len(these) < 2:
                continue
            choice = choose_checkpoint([one.score for one in these.values()], BOUNDS)
            chosen, last = these[choice.step].truth, these[max(these)].truth
            lowest = these[_lowest_loss(folder / "runs" / subject.name / run, list(these))].truth
            best = max(one.truth.value for one in these.values())
            regrets.append(best - chosen.value)
            over_last.append(chosen.value - last.value)
            over_loss.append(chosen.value - lowest.value)
            rows.append(
                f"| {subject.name} | {run} | {choice.step} | {choice.verdict} | {chosen.strict:.0%} | "
                f"{chosen.value:.0%} | {last.value:.0%} | {lowest.value:.0%} | {best:.0%} |"
            )
    yield "Value: whole subjects on the asked grounds, less what bled into the class."
    yield ""
    yield "| subject | run | chosen | verdict | strict | its value | last | lowest loss | best |"
    yield "| --- | --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |"
    yield from rows
    yield ""
    yield f"Over {len(rows)} runs: regret against the best candidate {np.mean(regrets):.1%} on average"
    yield f"({max(regrets):.0%} at most); chosen less last {_interval(over_last)}, chosen less lowest loss"
    yield f"{_interval(over_loss)}."


def _table(judged: Sequence[Judged]) -> Iterator[str]:
    columns = "subject | adapter | likeness | recognised | learned | breaks | strict | parts | grounds | copied"
    yield f"| {columns} | class shows it | class as base | others as base |"
    yield "| --- | --- | ---: | ---: | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for one in judged:
        truth, found = one.truth, one.score
        whole = found["recognised"]
        recognised = f"{whole.value:.0%} ({whole.low:.0%} to {whole.high:.0%})"
        shown, kept = (truth.strict, truth.parts, truth.ground, truth.copied), (truth.class_same, truth.other_same)
        yield (
            f"| {one.subject.name} | {one.name} | {found['likeness'].value:.0%} | {recognised} | "
            f"{'yes' if has_learned(found, BOUNDS) else 'no'} | {', '.join(one.broken)} | "
            + " | ".join(f"{number:.0%}" for number in (*shown, truth.class_mild, *kept))
            + " |"
        )


def _is_checkpoint(name: str, run: str) -> bool:
    return name.startswith(f"{run}-") and name.count("-") == 1


def _step(name: str) -> int:
    return int(name.split("-")[1])


def _lowest_loss(run: Path, steps: Sequence[int]) -> int:
    """The checkpoint with the lowest mean training loss over the hundred steps before it."""
    losses: Mapping[int, float] = {int(line["step"]): line["loss"] for line in read_metrics(run / "metrics.jsonl")}
    return min(steps, key=lambda step: _mean([losses[each] for each in range(step - 99, step + 1) if each in losses]))


def _interval(values: Sequence[float]) -> str:
    draws = np.random.default_rng(0).choice(values, (4000, len(values))).mean(1)
    low, high = np.quantile(draws, (0.025, 0.975))
    return f"{np.mean(values):+.1%} ({low:+.1%} to {high:+.1%})"


def _wilson(share: float, count: int = SCENES * len(SEEDS)) -> tuple[float, float]:
    """The 95% interval of a share of so many images (Wilson, 1927)."""
    z = 1.96
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return middle - half, middle + half


def _not(values: Sequence[bool]) -> list[bool]:
    return [not value for value in values]


def _share(hits: Sequence[bool], among: Sequence[bool]) -> str:
    chosen = [hit for hit, counts in zip(hits, among, strict=True) if counts]
    return f"{_mean(chosen):.0%} | {len(chosen)}" if chosen else "- | 0"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))


def images_in(folder: Path) -> list[Image.Image]:
    return [Image.open(file).convert("RGB") for file in sorted(folder.glob("*.png"))]


@torch.no_grad()
def softened(images: Sequence[Image.Image]) -> list[Image.Image]:
    """As the base's VAE gives them back, at the size of its renders."""
    vae, made = load_vae("mini", device=torch.device("cpu")), []
    for image in images:
        scale = 128 / (image.width * image.height) ** 0.5
        width, height = (max(1, round(side * scale / 16)) * 16 for side in image.size)
        small = np.array(image.resize((width, height), Image.Resampling.LANCZOS))
        made += Flux1().decode(vae, encode_pixels(vae, torch.from_numpy(small).permute(2, 0, 1)[None] / 127.5 - 1))
    return made


if __name__ == "__main__":
    main()
