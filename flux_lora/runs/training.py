"""Train the adapter of a run: the learner, the steps that are left, and who does what between them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from flux_lora.adapter.attach import (
    attach,
    detach,
    linear_layers,
    load_into,
    trainable_layers,
    without_adapter,
)
from flux_lora.adapter.start import started_from
from flux_lora.adapter.trainable import trained_ranks
from flux_lora.atomic import FULL
from flux_lora.config.choices import Control, SigmaSampling
from flux_lora.config.compose import flat_settings
from flux_lora.config.schema import RunConfig, TrainConfig
from flux_lora.data.batches import Batch, BatchOptions, apart_by_traits, batch_at, batches_from
from flux_lora.distributed.processes import ALONE, ProcessGroup, ProcessShare
from flux_lora.errors import RunError
from flux_lora.flow.points import Draw, Shift, counted_draw
from flux_lora.flow.randomness import generator_for
from flux_lora.flow.sigmas import Quantile, beta, logit_normal, mode, uniform
from flux_lora.models.compiled import compiled_blocks
from flux_lora.models.family import Pipeline
from flux_lora.runs.base_answers import preservation_of, reminders_of
from flux_lora.runs.control import ControlFile, Requests
from flux_lora.runs.dataset import RunDataset
from flux_lora.runs.early_stop import stopped_early
from flux_lora.runs.encoding import PreparedRun, check_together, encode_together
from flux_lora.runs.learning_check import rate_in_words
from flux_lora.runs.lock import alone_in
from flux_lora.runs.memory_check import Meter, check_memory, meter_of, one_preview, step_on_largest
from flux_lora.runs.out_of_memory import memory_in_words
from flux_lora.runs.outcome import refuse_worthless
from flux_lora.runs.pauses import Pauses, checkpoints_left, saves
from flux_lora.runs.photo_losses import measure_photos, worst_in_words
from flux_lora.runs.resume import take_over, where_to_go_on
from flux_lora.runs.run import Run
from flux_lora.runs.stop_request import stop_request
from flux_lora.runs.summary import stage
from flux_lora.train import checkpoints
from flux_lora.train.checkpoints import Checkpoint
from flux_lora.train.learner import Learner
from flux_lora.train.loop import Launched, launched_steps, placed
from flux_lora.train.reporters import Jsonl, Reporter, Started, combined, tracker_for


def train_together(run: Run, group: ProcessGroup, *reporters: Reporter, ships: bool = False) -> RunDataset | None:
    """Check, encode and train, by one process or several; None where strict=true stops at warnings. `ships`: whether
    what is trained will be judged and exported."""
    dataset, folder = check_together(run, group, ships=ships), run.folder
    if dataset is None:
        return None
    with group.if_first(alone_in(folder.root)):
        with group.if_first(stage(folder, "prepare")):
            prepared = encode_together(run, dataset, group)
        with group.if_first(stage(folder, "train", continues=True)), _shortage_in_words(run):
            train_adapter(run, prepared, *reporters, group=group)
    return dataset


@contextmanager
def _shortage_in_words(run: Run) -> Iterator[None]:
    """Of memory, or of room for lines, previews and other small things; checkpoints speak for themselves."""
    root = run.folder.root
    try:
        with memory_in_words(run):
            yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        last = checkpoints.latest_checkpoint(root)
        goes_on = f"after step {last.step}" if last else "from the start"
        raise RunError(
            f"the disk of {error.filename or root} is full", fix=f"free some; the same command then goes on {goes_on}"
        ) from error


def train_adapter(
    run: Run, prepared: PreparedRun, *reporters: Reporter, group: ProcessGroup = ALONE, meter: Meter | None = None
) -> None:
    """Take the steps that are left, keep checkpoints, render previews.

    `reporters` come beside metrics.jsonl and the recipe's tracker. Of several processes the first writes and reports.
    `meter` measures memory in a step and a preview before the first; a GPU has its own.
    """
    config, folder = run.config, run.folder
    if step := stopped_early(run):
        run.feedback.say(f"training ended at step {step}, where more brought nothing; train.evaluate_every=0 goes on")
        return
    reporter = _reporter(run, reporters) if group.first else combined()
    pipeline = run.load_pipeline()
    with group.first_alone():
        reminders = reminders_of(run, prepared, pipeline, group.share) if config.train.preservation else None
    last = where_to_go_on(folder.root, config.train.resume)
    draw, options = _draw(run, pipeline), _batch_options(config, group.share)
    if last is None and (measures := meter or meter_of(run.device.device)):
        _check_memory(run, prepared, pipeline, partial(step_on_largest, prepared, options, draw), measures, group)
    learner = _learner(run, pipeline, group, begins=last is None)
    start = checkpoints.restore(last, learner) if last else 0
    _refuse_another_start(start, group)
    dtype = run.device.dtype
    preservation = preservation_of(config.train, reminders, dtype, start, last) if reminders else None
    groups = apart_by_traits(prepared.dataset.planned.groups, prepared.encoded.traits())
    first = start * config.train.gradient_accumulation_steps
    batches = batches_from(prepared.encoded, prepared.empty, options, groups, start=first)
    if group.first:
        _make_ready(run, learner, last)
    lies = str(folder.root.resolve())
    reporter.started(Started(folder.root.name, config.train.steps, start, flat_settings(config), lies))
    first_batch = partial(batch_at, prepared.encoded, prepared.empty, options, groups, 0)
    with _told_how_it_ends(reporter), stop_request() as stop, _compiled(run, pipeline, draw, learner, first_batch):
        requests = Requests(stop, ControlFile(folder.root), group)
        pauses = Pauses(run, prepared, pipeline, learner, reporter, start=start) if group.first else None
        expected = pauses.expected_loss if pauses else None
        steps = launched_steps(learner, batches, draw, start=start, preservation=preservation, expected=expected)
        left = islice(steps, max(0, config.train.steps - start))
        _take(left, pauses, reporter, requests) if pauses else _follow(left, config.train, requests)
        if group.first:
            refuse_worthless(run)
    if group.first:
        for line in worst_in_words(measure_photos(run, learner, prepared)):
            run.feedback.say(line)


def _make_ready(run: Run, learner: Learner, last: Checkpoint | None) -> None:
    folder, train = run.folder, run.config.train
    if last:
        take_over(last, folder)
    checkpoints.refuse_full_disk(folder.root, learner, left=checkpoints_left(train, last.step if last else 0))
    if not last and (rate := rate_in_words(run.config)):
        run.feedback.say(rate)


def _reporter(run: Run, more: Sequence[Reporter]) -> Reporter:
    config, folder = run.config, run.folder
    tracker = tracker_for(config.tracker.name, project=config.tracker.project, run_dir=folder.root)
    return combined(Jsonl(folder.metrics), *more, tracker)


def _refuse_another_start(start: int, group: ProcessGroup) -> None:
    """Processes on several machines share the run folder, or they would train different adapters."""
    if (furthest := group.agree(start)) != start:
        raise RunError(
            f"process {group.share.rank} finds a checkpoint of step {start}, and another one of step {furthest}",
            fix="put run.dir on a disk that all machines share",
        )


def _take(steps: Iterator[Launched], pauses: Pauses, reporter: Reporter, requests: Requests) -> None:
    """A step is reported once the next is under way, or where there is a pause after it."""
    unread: Launched | None = None
    requests.file.clear()
    for step in steps:
        if unread:
            reporter.step(pauses.read(unread))
        unread, request = step, requests.after_step()
        if not (request or pauses.due(step.number)):
            continue
        facts, unread = pauses.read(step), None
        reporter.step(facts)
        request = requests.paused() if request is Control.pause else request
        over = pauses.take(facts, request)
        if request or pauses.saves(step.number):
            over = requests.end_together(over)
        if over:
            return


def _follow(steps: Iterator[Launched], config: TrainConfig, requests: Requests) -> None:
    """What a process beside the first does between two steps: where that one saves or does as it is asked, it waits."""
    for step in steps:
        request = requests.after_step()
        request = requests.paused() if request is Control.pause else request
        if (request or saves(config, step.number)) and requests.end_together(False):
            return


def _compiled(
    run: Run, pipeline: Pipeline, draw: Draw, learner: Learner, first_batch: Callable[[], Batch]
) -> AbstractContextManager[None]:
    """With the blocks compiled, by a question about this batch; as they are where that is not asked for."""
    if not run.config.hardware.compile:
        return nullcontext()
    batch = first_batch()

    def attempt() -> tuple[Tensor, list[Tensor]]:
        asked, point = placed((batch, draw(batch.latents.float(), 0)), run.device.device, run.device.dtype)
        answer = learner.predict(point.noisy, point.sigma, asked.prompt_embeds, references=asked.references)
        gradients = torch.autograd.grad((answer - point.velocity).float().square().mean(), learner.parameters)
        return answer.detach(), list(gradients)

    return compiled_blocks(pipeline.transformer, attempt, run.feedback.say)


def _check_memory(
    run: Run,
    prepared: PreparedRun,
    pipeline: Pipeline,
    step: Callable[[Learner], None],
    meter: Meter,
    group: ProcessGroup,
) -> None:
    """With a learner that is thrown away."""
    works = (partial(step, _learner(run, pipeline, group, begins=True)), partial(one_preview, run, prepared, pipeline))
    with run.feedback.status("trying a step on the largest images, and a preview"):
        check_memory(run, works if run.config.preview.every else works[:1], meter)
    detach(pipeline.transformer)


@contextmanager
def _told_how_it_ends(reporter: Reporter) -> Iterator[None]:
    status = "stopped"
    try:
        yield
        status = "done"
    except Exception:
        status = "failed"
        raise
    finally:
        reporter.finished(status)


def _draw(run: Run, pipeline: Pipeline) -> Draw:
    config = run.config.train
    shift = shift_of(run, pipeline)
    return counted_draw(config.seed, quantile_of(config), shift, unshifted_share=config.unshifted_share)


def quantile_of(config: TrainConfig) -> Quantile:
    """How the recipe draws sigmas, before the shift."""
    match config.sigma_sampling:
        case SigmaSampling.logit_normal:
            return logit_normal(config.logit_mean, config.logit_std)
        case SigmaSampling.uniform:
            return uniform()
        case SigmaSampling.mode:
            return mode(config.mode_scale)
        case SigmaSampling.beta:
            return beta(config.beta_alpha, config.beta_beta)


def shift_of(run: Run, pipeline: Pipeline) -> Shift:
    """The recipe's for every image, or the base's own for each size."""
    config, pixels = run.config, run.family.pixels_per_latent

    def dynamic(height: int, width: int) -> float:
        size = {"width": width * pixels, "height": height * pixels}
        return run.family.training_shift(pipeline.scheduler, **size)

    return dynamic if config.train.dynamic_shift else lambda _height, _width: config.train.shift


def _batch_options(config: RunConfig, share: ProcessShare) -> BatchOptions:
    return BatchOptions(
        batch_size=config.train.batch_size,
        seed=config.train.seed,
        caption_dropout=config.train.caption_dropout,
        prior_loss_weight=config.train.prior_loss_weight,
        sample_latents=config.data.sample_latents,
        mask_floor=config.data.mask_floor,
        outside_mask=config.data.outside_mask,
        rank=share.rank,
        world_size=share.world_size,
    )


def _learner(run: Run, pipeline: Pipeline, group: ProcessGroup, *, begins: bool) -> Learner:
    config, family, transformer = run.config, run.family, pipeline.transformer
    layers = trained_ranks(linear_layers(transformer), config.adapter, family)
    generator = generator_for(config.train.seed, 0, "adapter")
    wanted = config.adapter
    start = attach(transformer, layers, rank=wanted.rank, alpha=wanted.alpha, generator=generator, kind=wanted.kind)
    if begins and config.adapter.start:
        start = started_from(Path(config.adapter.start).expanduser(), start)
        load_into(transformer, start)
    if config.hardware.gradient_checkpointing:
        family.checkpoint_activations(transformer)
    predict = family.velocity(transformer, guidance=config.model.train_guidance)
    base = without_adapter(transformer, predict)
    return Learner(predict, start, trainable_layers(transformer), config.train, group, base=base)
