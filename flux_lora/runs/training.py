"""Train the adapter of a run: the steps that are left, checkpoints, previews, reporters."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice

from PIL import Image

from flux_lora.adapter.attach import adapter_of, attach, linear_layers, trainable_layers
from flux_lora.adapter.files import adapter_digest
from flux_lora.adapter.trainable import matching_layers
from flux_lora.config.compose import flat_settings
from flux_lora.config.schema import RunConfig
from flux_lora.data.batches import BatchOptions, batches_from
from flux_lora.flow.points import counted_draw
from flux_lora.flow.randomness import generator_for
from flux_lora.flow.sigmas import SigmaSampler, logit_normal
from flux_lora.models.family import Pipeline, stack_prompt_embeds
from flux_lora.render.kept import save_image
from flux_lora.render.pipeline import render
from flux_lora.runs.base_answers import PRESERVATION_WEIGHT, preservation_of, reminders_of
from flux_lora.runs.early_stop import EarlyStop, stopped_early
from flux_lora.runs.encoding import PreparedRun, preview_prompts
from flux_lora.runs.held_out import HeldOutLoss
from flux_lora.runs.run import Run, spec_of
from flux_lora.runs.stop_request import stop_request
from flux_lora.runs.summary import note
from flux_lora.train import checkpoints
from flux_lora.train.learner import Learner
from flux_lora.train.loop import training_steps
from flux_lora.train.reporters import Jsonl, Reporter, Started, combined, tracker_for


def train_adapter(run: Run, prepared: PreparedRun, *reporters: Reporter) -> None:
    """Take the steps that are left, keep checkpoints, render previews.

    `reporters` come beside metrics.jsonl and the recipe's tracker.
    """
    config, folder = run.config, run.folder
    if step := stopped_early(run):
        run.feedback.say(f"training ended at step {step}, where more brought nothing; train.evaluate_every=0 goes on")
        return
    tracker = tracker_for(config.tracker.name, project=config.tracker.project, run_dir=folder.root)
    reporter = combined(Jsonl(folder.metrics), *reporters, tracker)
    pipeline = run.load_pipeline()
    reminders = reminders_of(run, prepared, pipeline) if config.train.preservation else None
    learner = _learner(run, pipeline)
    last = checkpoints.latest_checkpoint(folder.root)
    start = checkpoints.restore(last, learner) if last else 0
    preservation = preservation_of(config.train, reminders, start, last) if reminders else None
    batches = batches_from(
        prepared.encoded, prepared.empty, _batch_options(config), prepared.dataset.planned.groups, start=start
    )
    previews = _Previews(run, prepared, pipeline)
    early_stop = EarlyStop(run, prepared.dataset, pipeline)
    held_out = HeldOutLoss(run, prepared.held_out, learner.predict, start=start)
    reporter.started(Started(folder.root.name, config.train.steps, start, flat_settings(config)))
    with _told_how_it_ends(reporter), stop_request() as stop:
        steps = training_steps(
            learner,
            batches,
            counted_draw(config.train.seed, _sigmas(config)),
            start=start,
            preservation=preservation,
        )
        over = False
        for step in islice(steps, max(0, config.train.steps - start)):
            reporter.step(step)
            if measured := held_out.after(step.number):
                reporter.measured(step.number, measured)
            if stop.signal or _due(step.number, config.train.save_every, config.train.steps):
                progress = {PRESERVATION_WEIGHT: step.preservation_weight}
                saved = checkpoints.save(folder.root, step.number, learner, progress)
                reporter.saved(saved)
                note(folder, {"steps": step.number})
                stop.obey()
                over = early_stop.after(saved)
            if config.preview.every and step.number % config.preview.every == 0:
                previews.show(step.number, reporter)
            if over:
                break


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


def _sigmas(config: RunConfig) -> SigmaSampler:
    return logit_normal(config.train.logit_mean, config.train.logit_std, config.train.shift)


def _batch_options(config: RunConfig) -> BatchOptions:
    return BatchOptions(
        batch_size=config.train.batch_size,
        seed=config.train.seed,
        caption_dropout=config.train.caption_dropout,
        prior_loss_weight=config.train.prior_loss_weight,
        sample_latents=config.data.sample_latents,
        mask_floor=config.data.mask_floor,
    )


def _learner(run: Run, pipeline: Pipeline) -> Learner:
    config, family, transformer = run.config, run.family, pipeline.transformer
    layers = matching_layers(
        linear_layers(transformer),
        config.adapter.targets,
        family.layer_groups,
        unused=family.unused_in_training,
    )
    start = attach(
        transformer,
        layers,
        rank=config.adapter.rank,
        alpha=config.adapter.alpha,
        generator=generator_for(config.train.seed, 0, "adapter"),
    )
    if config.hardware.gradient_checkpointing:
        family.checkpoint_activations(transformer)
    predict = family.velocity(transformer, guidance=config.model.train_guidance)
    return Learner(predict, start, trainable_layers(transformer), config.train)


def _due(number: int, every: int, last: int) -> bool:
    return number % every == 0 or number == last


class _Previews:
    """The same prompts and noise at each preview, so that two differ by what was learned."""

    def __init__(self, run: Run, prepared: PreparedRun, pipeline: Pipeline) -> None:
        config, prompts = run.config, preview_prompts(run, prepared.dataset)
        self._run = run
        self._pipeline = pipeline
        self._embeds = stack_prompt_embeds(run.encode_prompts(prompts))
        self._spec = spec_of(
            config, prompts, (config.preview.seed,), steps=config.preview.steps, side=config.preview.size
        )

    def show(self, number: int, reporter: Reporter) -> None:
        """Render and keep the previews of a step."""
        rendered = render(self._pipeline, self._embeds, self._spec)
        images: Mapping[str, Image.Image] = dict(zip(self._spec.prompts, rendered, strict=True))
        folder = self._run.folder.samples / f"step-{number:06d}"
        folder.mkdir(parents=True, exist_ok=True)
        specs = self._spec.images(self._run.weights(adapter_digest(adapter_of(self._pipeline.transformer))))
        for index, (image, spec) in enumerate(zip(rendered, specs, strict=True)):
            save_image(image, folder / f"{index:02d}.png", spec)
        reporter.previewed(number, images)
