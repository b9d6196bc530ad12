"""How pictures fit their buckets: what is cropped, what is enlarged, what trains smaller than was asked for."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from flux_lora.config.choices import Severity
from flux_lora.data.box import Box
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.planning.placing import MOST_ENLARGED
from flux_lora.data.planning.plan import Plan, Prepared

SMALL = Rule("small", Severity.warning, "Enlarged or very small pictures teach blur, and no fine detail.")
BELOW_RESOLUTION = Rule(
    "below-resolution", Severity.note, "The picture has fewer pixels than were asked for, and trains at its own size."
)
CROPPED = Rule("cropped", Severity.warning, "Part of the picture is never seen, though its caption may name it.")
CROPPED_AWAY = Rule("cropped-away", Severity.error, "So much is cropped that the picture is not the one captioned.")
MASK_CROPPED = Rule("mask-cropped", Severity.warning, "Part of what the mask marks is never seen.")
BOX_CROPPED = Rule("box-cropped", Severity.warning, "Part of what a box marks, such as a face, is never seen.")
LONE_BUCKET = Rule("lone-bucket", Severity.note, "The picture never shares a batch, and so weighs more in its step.")
RULES: tuple[Rule, ...] = (SMALL, BELOW_RESOLUTION, CROPPED, CROPPED_AWAY, MASK_CROPPED, BOX_CROPPED, LONE_BUCKET)

VERY_SMALL = 0.5
"""Of the pixels asked for. With fewer, fine print and faces are not to be seen."""
FULL = 0.85
"""Of the pixels asked for. Where a few per cent are missing, they are not missed."""
MUCH_CROPPED = 0.1
ALLOWED = 0.25


def judge_bucket_fit(plan: Plan, allow_crop: float = ALLOWED) -> Iterator[Finding]:
    """Picture by picture. `allow_crop` is the share that may fall outside the bucket; more is an error."""
    of_sample: dict[Path, list[Prepared]] = {}
    for one in plan.prepared:
        of_sample.setdefault(one.sample.image, []).append(one)
    alone = _alone(plan)
    for parts in of_sample.values():
        yield from _judge_size(parts)
        yield from _judge_crop(parts, allow_crop)
        yield from _judge_kept(parts)
        yield from (_lone(one) for one in parts[:1] if one.sample.image in alone)


def steps_in_words(plan: Plan, batch_size: int, steps: int) -> str:
    """Steps, epochs and exposures in one sentence. A step is one update of the adapter, and takes one batch."""
    batches = plan.batches(batch_size)
    if not batches:
        return "There is nothing to show."
    shown: dict[Path, int] = {}
    for one in plan.prepared:
        shown[one.sample.image] = shown.get(one.sample.image, 0) + one.exposures
    rounds = steps / batches
    full = "1 picture" if batch_size == 1 else f"up to {batch_size:,} pictures"
    return (
        f"An epoch is {_counted(batches, 'step')} of {full} and shows "
        f"{_each(sorted(set(shown.values())), len(shown))}; {_counted(steps, 'step')} are {rounds:.1f} epochs, "
        f"in which each picture is seen {_about(min(shown.values()) * rounds, max(shown.values()) * rounds)}."
    )


def _judge_size(parts: Sequence[Prepared]) -> Iterator[Finding]:
    worst = max(parts, key=lambda one: (one.scale > MOST_ENLARGED, one.resolution))
    size, bucket = f"{worst.size[0]}x{worst.size[1]}", f"{worst.bucket.width}x{worst.bucket.height}"
    share = worst.box.width * worst.box.height / worst.resolution**2  # what it has, whatever its bucket has room for
    fix = "use a larger picture, or set a smaller data.resolution"
    if worst.scale > MOST_ENLARGED:
        yield SMALL.at(worst.sample.image, f"is {size} and would be enlarged {worst.scale:.1f} times to {bucket}", fix)
    elif share < VERY_SMALL:
        problem = f"is {size} and has {share:.0%} of the pixels asked for; it would train at {bucket}"
        yield SMALL.at(worst.sample.image, problem, fix)
    elif share < FULL:
        problem = f"is {size} and has {share:.0%} of the pixels asked for; it trains at {bucket}"
        yield BELOW_RESOLUTION.at(worst.sample.image, problem, "use a larger picture where there is one")


def _judge_crop(parts: Sequence[Prepared], allow_crop: float) -> Iterator[Finding]:
    worst = max(parts, key=lambda one: one.cropped)
    seen = f"loses {worst.cropped:.0%} of itself to its bucket of {worst.bucket.width}x{worst.bucket.height}"
    fix = f"crop it yourself to the shape of {worst.bucket.width}x{worst.bucket.height}, so that you choose what stays"
    if worst.cropped > allow_crop:
        yield CROPPED_AWAY.at(worst.sample.image, seen, f"{fix}, or set data.allow_crop={_above(worst.cropped)}")
    elif worst.cropped > MUCH_CROPPED:
        yield CROPPED.at(worst.sample.image, seen, fix)


def _judge_kept(parts: Sequence[Prepared]) -> Iterator[Finding]:
    """What is marked in a picture is in its crops. A box in the table goes before a mask."""
    worst = next((one for one in parts if not one.whole), parts[0])
    sample, bucket = worst.sample, f"{worst.bucket.width}x{worst.bucket.height}"
    box = sample.box and f"{sample.box.left:g}, {sample.box.top:g}, {sample.box.right:g}, {sample.box.bottom:g}"
    if sample.box and not Box(0, 0, *worst.size).holds(sample.box):
        problem = f"has a box ({box}) that goes beyond its {worst.size[0]}x{worst.size[1]} pixels"
        yield BOX_CROPPED.at(sample.image, problem, "give left, top, right and bottom in pixels of the upright picture")
    elif box and not worst.whole:
        problem = f"has a box ({box}) that does not fit into its bucket of {bucket}"
        yield BOX_CROPPED.at(sample.image, problem, "crop the picture to a shape that holds what is marked")
    elif sample.mask is not None and not worst.whole:
        problem = f"has a mask that does not fit into its bucket of {bucket}"
        yield MASK_CROPPED.at(
            sample.image, problem, "crop the picture and its mask to a shape that holds what is marked"
        )


def _alone(plan: Plan) -> set[Path]:
    """Pictures that are in a bucket by themselves, where others have company and batches could be shared."""
    homes = [{plan.prepared[number].sample.image for number in group} for group in plan.groups]
    if plan.options.batch_size == 1 or max(map(len, homes), default=0) < 2:
        return set()
    return {image for home in homes if len(home) == 1 for image in home}


def _lone(one: Prepared) -> Finding:
    bucket = f"{one.bucket.width}x{one.bucket.height}"
    return LONE_BUCKET.at(
        one.sample.image,
        f"is the only picture in a bucket, {bucket}",
        "add another of its shape, or crop it to the shape of the others",
    )


def _above(share: float) -> str:
    return f"{min(1.0, int(share * 100 + 1) / 100):.2f}"


def _counted(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def _each(times: Sequence[int], pictures: int) -> str:
    often = "once" if times == [1] else f"{times[0]} times" if len(times) == 1 else f"{times[0]} to {times[-1]} times"
    return f"each of {_counted(pictures, 'picture')} {often}"


def _about(least: float, most: float) -> str:
    low, high = f"{least:,.0f}", f"{most:,.0f}"
    if low == high:
        return "about once" if low == "1" else f"about {low} times"
    return f"about {low} to {high} times"
