"""How images fit their buckets: crop loss, upscaling, and fewer pixels than data.resolution."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from flux_lora.config.choices import Severity
from flux_lora.config.schema import TrainConfig
from flux_lora.data.bucketing.buckets import MOST_ENLARGED
from flux_lora.data.bucketing.plan import Plan, Prepared
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.samples import Box

SMALL = Rule("small", Severity.warning, "Enlarged or very small images teach blur, and no fine detail.")
BELOW_RESOLUTION = Rule(
    "below-resolution", Severity.note, "The image has fewer pixels than were asked for, and trains at its own size."
)
CROPPED = Rule("cropped", Severity.warning, "Part of the image is never seen, though its caption may name it.")
CROPPED_AWAY = Rule("cropped-away", Severity.error, "So much is cropped that the image is not the one captioned.")
MASK_CROPPED = Rule("mask-cropped", Severity.warning, "Part of what the mask marks is never seen.")
BOX_CROPPED = Rule("box-cropped", Severity.warning, "Part of what a box marks, such as a face, is never seen.")
LONE_BUCKET = Rule("lone-bucket", Severity.note, "The image never shares a batch, and so weighs more in its step.")
BUCKET_FIT_RULES: tuple[Rule, ...] = (
    SMALL,
    BELOW_RESOLUTION,
    CROPPED,
    CROPPED_AWAY,
    MASK_CROPPED,
    BOX_CROPPED,
    LONE_BUCKET,
)

VERY_SMALL = 0.5
"""Share of resolution squared. Below it, small print and faces are lost."""
FULL = 0.85
"""Share of resolution squared from which an image counts as large enough."""
MUCH_CROPPED = 0.1
"""Share of the image outside its crop."""
ALLOWED = 0.25


def judge_bucket_fit(plan: Plan, max_crop: float = ALLOWED) -> Iterator[Finding]:
    """Image by image. `max_crop` is the share that may fall outside the bucket; more is an error."""
    of_sample: dict[Path, list[Prepared]] = {}
    for prepared in plan.prepared:
        of_sample.setdefault(prepared.sample.image, []).append(prepared)
    alone = _alone_in_bucket(plan)
    for parts in of_sample.values():
        yield from _judge_size(parts)
        yield from _judge_crop(parts, max_crop)
        yield from _judge_marked(parts)
        if parts[0].sample.image in alone:
            problem = f"is the only image in a bucket, {parts[0].bucket.width}x{parts[0].bucket.height}"
            fix = "add another of its shape, or crop it to the shape of the others"
            yield LONE_BUCKET.at(parts[0].sample.image, problem, fix)


def steps_in_words(plan: Plan, train: TrainConfig) -> str:
    """Steps, epochs and exposures in one sentence. A step is one update of the adapter, and takes one batch or, where
    gradients are accumulated, several."""
    batch_size, together = train.batch_size, max(1, train.gradient_accumulation_steps)
    batches = plan.batches(batch_size)
    if not batches:
        return "There is nothing to show."
    exposures: dict[Path, int] = {}
    for prepared in plan.prepared:
        exposures[prepared.sample.image] = exposures.get(prepared.sample.image, 0) + prepared.exposures
    counts, epochs = sorted(set(exposures.values())), train.steps * together / batches
    full = "1 image" if batch_size == 1 else f"up to {batch_size:,} images"
    full = full if together == 1 else f"{together} times {full}"
    return (
        f"An epoch is {_counted(-(-batches // together), 'step')} of {full} and shows "
        f"{_times_each(counts, len(exposures))}. In {_counted(train.steps, 'step')} each image is seen "
        f"{_about_times(counts[0] * epochs, counts[-1] * epochs)}."
    )


def _judge_size(parts: Sequence[Prepared]) -> Iterator[Finding]:
    worst = max(parts, key=lambda one: (one.scale > MOST_ENLARGED, one.resolution))
    size, bucket = f"{worst.size[0]}x{worst.size[1]}", f"{worst.bucket.width}x{worst.bucket.height}"
    share = worst.box.width * worst.box.height / worst.resolution**2  # pixels before scaling, whatever the bucket holds
    fix = "use a larger image, or set a smaller data.resolution"
    if worst.scale > MOST_ENLARGED:
        yield SMALL.at(worst.sample.image, f"is {size} and would be enlarged {worst.scale:.1f} times to {bucket}", fix)
    elif share < VERY_SMALL:
        problem = f"is {size} and has {share:.0%} of the pixels asked for; it would train at {bucket}"
        yield SMALL.at(worst.sample.image, problem, fix)
    elif share < FULL:
        problem = f"is {size} and has {share:.0%} of the pixels asked for; it trains at {bucket}"
        yield BELOW_RESOLUTION.at(worst.sample.image, problem, "use a larger image where there is one")


def _judge_crop(parts: Sequence[Prepared], max_crop: float) -> Iterator[Finding]:
    worst = max(parts, key=lambda one: one.cropped)
    problem = f"loses {worst.cropped:.0%} of itself to its bucket of {worst.bucket.width}x{worst.bucket.height}"
    fix = f"crop it yourself to the shape of {worst.bucket.width}x{worst.bucket.height}, so that you choose what stays"
    if worst.cropped > max_crop:
        yield CROPPED_AWAY.at(worst.sample.image, problem, f"{fix}, or set data.max_crop={_above(worst.cropped)}")
    elif worst.cropped > MUCH_CROPPED:
        yield CROPPED.at(worst.sample.image, problem, fix)


def _judge_marked(parts: Sequence[Prepared]) -> Iterator[Finding]:
    """Whether a crop holds what is marked in its image. A table's box takes precedence over a mask."""
    worst = next((one for one in parts if not one.whole), parts[0])
    sample, bucket = worst.sample, f"{worst.bucket.width}x{worst.bucket.height}"
    box = sample.box and f"{sample.box.left:g}, {sample.box.top:g}, {sample.box.right:g}, {sample.box.bottom:g}"
    if sample.box and not Box(0, 0, *worst.size).holds(sample.box):
        problem = f"has a box ({box}) that goes beyond its {worst.size[0]}x{worst.size[1]} pixels"
        yield BOX_CROPPED.at(sample.image, problem, "give left, top, right and bottom in pixels of the upright image")
    elif box and not worst.whole:
        problem = f"has a box ({box}) that does not fit into its bucket of {bucket}"
        yield BOX_CROPPED.at(sample.image, problem, "crop the image to a shape that holds what is marked")
    elif sample.mask is not None and not worst.whole:
        problem = f"has a mask that does not fit into its bucket of {bucket}"
        yield MASK_CROPPED.at(sample.image, problem, "crop the image and its mask to a shape that holds what is marked")


def _alone_in_bucket(plan: Plan) -> set[Path]:
    """Images alone in their bucket; none where no batch holds two images anyway."""
    buckets = [{plan.prepared[number].sample.image for number in group} for group in plan.groups]
    if plan.options.batch_size == 1 or max(map(len, buckets), default=0) < 2:
        return set()
    return {image for images in buckets if len(images) == 1 for image in images}


def _above(share: float) -> str:
    """The next hundredth above a share, as a value for data.max_crop."""
    return f"{min(1.0, int(share * 100 + 1) / 100):.2f}"


def _counted(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def _times_each(times: Sequence[int], images: int) -> str:
    often = "once" if times == [1] else f"{times[0]} times" if len(times) == 1 else f"{times[0]} to {times[-1]} times"
    return f"each of {_counted(images, 'image')} {often}"


def _about_times(least: float, most: float) -> str:
    low, high = f"{least:,.0f}", f"{most:,.0f}"
    if low == high:
        return "about once" if low == "1" else f"about {low} times"
    return f"about {low} to {high} times"
