"""train: teach the adapter; the same command again continues where it stopped."""

from collections.abc import Mapping
from functools import partial
from itertools import islice

from PIL import Image

from flux_lora.adapter.attach import attach, parameters_of, set_strength
from flux_lora.commands.check import clear
from flux_lora.commands.machine import DeviceAndDtype, device_and_dtype
from flux_lora.commands.pictures import Pipeline, load_pipeline
from flux_lora.commands.prepare import PreparedRun, encode_dataset, encoded_prompts, preview_prompts
from flux_lora.commands.remember import preservation_samples, render_class_images
from flux_lora.commands.run_folder import RunFolder, open_folder, settings
from flux_lora.commands.summary import note, stage
from flux_lora.config.schema import RunConfig
from flux_lora.data.batches import BatchOptions, batches_from
from flux_lora.data.order import group_by_shape
from flux_lora.flow.points import counted_draw
from flux_lora.flow.randomness import generator_for
from flux_lora.flow.times import SigmaSampler, logit_normal, uniform
from flux_lora.models.family import stack_prompt_embeds
from flux_lora.models.flux1.velocity import velocity_of
from flux_lora.render.sampler import shift_of
from flux_lora.render.spec import RenderSpec
from flux_lora.train import checkpoints
from flux_lora.train.console import Console
from flux_lora.train.learner import Learner
from flux_lora.train.preservation import Preservation, without_adapter
from flux_lora.train.reporters import Jsonl, Reporter, Started, combined
from flux_lora.train.steps import training_steps as steps_of
from flux_lora.train.trackers import tracker_for


def train(config: RunConfig) -> int:
    """Check, prepare and teach; 1 if there are warnings and strict is set."""
    material, code = clear(config)
    if code:
        return code
    machine, folder = device_and_dtype(config.hardware), open_folder(config)
    with stage(folder, "prepare"):
        ready = encode_dataset(config, folder, material, machine)
    with stage(folder, "train", continues=True):
        train_adapter(config, folder, ready, machine)
    return 0


def train_adapter(config: RunConfig, folder: RunFolder, ready: PreparedRun, machine: DeviceAndDtype) -> None:
    """Take the steps that are left, keep checkpoints, show previews."""
    reporter = combined(
        Jsonl(folder.metrics),
        Console(),
        tracker_for(config.tracker.name, project=config.tracker.project, run_dir=folder.root),
    )
    painter = load_pipeline(config, machine)
    if config.train.preservation:
        texts = encoded_prompts(config, folder, [each.prompt for each in ready.memories], machine)
        render_class_images(config, ready.memories, texts, painter, folder.cache)
    learner = _learner(config, painter)
    last = checkpoints.latest_checkpoint(folder.root)
    start = checkpoints.restore(last, learner) if last else 0
    draw = counted_draw(config.train.seed, _sigma_sampler(config))
    feed = BatchOptions(
        batch_size=config.train.batch_size,
        seed=config.train.seed,
        caption_dropout=config.train.caption_dropout,
        sample_latents=config.data.sample_latents,
        mask_floor=config.data.mask_floor,
    )
    looks = batches_from(ready.encoded, ready.empty, feed, ready.material.planned.groups, start=start)
    previews = _Previews(config, folder, ready, machine, painter)
    reporter.started(Started(folder.root.name, config.train.steps, start, settings(config)))
    status = "stopped"
    try:
        kept = _preservation(config, folder, ready, painter, learner, start)
        steps = steps_of(learner, looks, draw, start=start, preservation=kept)
        for step in islice(steps, config.train.steps - start):
            reporter.step(step)
            if _due(step.number, config.train.save_every, config.train.steps):
                reporter.saved(checkpoints.save(folder.root, step.number, learner))
                note(folder, {"steps": step.number})
            if config.preview.every and step.number % config.preview.every == 0:
                previews.show(step.number, reporter)
        status = "done"
    finally:
        reporter.finished(status)


def _learner(config: RunConfig, painter: Pipeline) -> Learner:
    adapter = attach(
        painter.transformer,
        rank=config.adapter.rank,
        alpha=config.adapter.alpha,
        targets=config.adapter.targets,
        generator=generator_for(config.train.seed, 0, "adapter"),
    )
    if config.hardware.gradient_checkpointing:
        painter.transformer.enable_gradient_checkpointing()
    predict = velocity_of(painter.transformer, guidance=config.model.train_guidance)
    return Learner(predict, adapter, parameters_of(painter.transformer), config.train)


def _preservation(
    config: RunConfig, folder: RunFolder, ready: PreparedRun, painter: Pipeline, learner: Learner, start: int
) -> Preservation | None:
    if not config.train.preservation:
        return None
    feed = BatchOptions(batch_size=config.train.batch_size, seed=config.train.seed + 1)
    pool = preservation_samples(ready.encoded, folder.cache, ready.memories)
    side = config.data.resolution
    shapes = [(one.bucket.height, one.bucket.width) for one in ready.material.planned.prepared]
    groups = group_by_shape([*shapes, *((side, side) for _ in ready.memories)])
    return Preservation(
        base=without_adapter(learner.predict, partial(set_strength, painter.transformer)),
        batches=batches_from(pool, ready.empty, feed, groups, start=start),
        draw=counted_draw(config.train.seed, uniform(shift_of(painter.scheduler, side, side)), purpose="reminder"),
        weight=config.train.preservation,
    )


def _sigma_sampler(config: RunConfig) -> SigmaSampler:
    return logit_normal(config.train.time_mean, config.train.time_std, config.train.time_shift)


def _due(number: int, every: int, last: int) -> bool:
    return number % every == 0 or number == last


class _Previews:
    """The same prompts and noise, again and again, as the adapter grows."""

    def __init__(
        self, config: RunConfig, folder: RunFolder, ready: PreparedRun, machine: DeviceAndDtype, painter: Pipeline
    ) -> None:
        prompts = preview_prompts(config, ready.material)
        size = config.preview.size or config.data.resolution
        self._folder = folder.samples
        self._painter = painter
        self._text = stack_prompt_embeds(encoded_prompts(config, folder, prompts, machine))
        self._spec = RenderSpec(
            prompts=prompts,
            seeds=(config.preview.seed,),
            width=size,
            height=size,
            text_tokens=config.model.text_tokens,
            steps=config.preview.steps,
            guidance=config.model.render_guidance,
        )

    def show(self, number: int, reporter: Reporter) -> None:
        """Render and keep the previews of a step."""
        pictures: Mapping[str, Image.Image] = dict(
            zip(self._spec.prompts, self._painter.render(self._text, self._spec), strict=True)
        )
        folder = self._folder / f"step-{number:06d}"
        folder.mkdir(parents=True, exist_ok=True)
        for index, picture in enumerate(pictures.values()):
            picture.save(folder / f"{index:02d}.png")
        reporter.previewed(number, pictures)
