"""Rules across knobs. Each yields the problem and the fix; nothing is raised here."""

import re
from collections.abc import Iterator
from dataclasses import fields

from flux_lora.config.choices import (
    AdapterKind,
    AlphaPolicy,
    CropMode,
    Device,
    ExportDialect,
    LossType,
    OptimizerName,
    Quantization,
    SigmaSampling,
)
from flux_lora.config.schema import ExportConfig, RunConfig, TrainConfig

Broken = tuple[str, str]
"""(problem, fix)"""
LEAST_PRODIGY = 0.1
"""Rates from here on are shares of one that is found."""
WHOLE_WEIGHTS = (AdapterKind.lokr, AdapterKind.loha)
"""Kinds whose change of a weight peft makes whole, in the shape that the weight is stored in."""
MOST_STRENGTH = 2.0
"""Of an adapter that is judged: what is shipped has to be right at 1."""
ONLY_FOR_SUBJECTS = frozenset(
    ("checkpoints", "max_leakage", "min_adherence", "max_bleeding", "max_copying", "max_artefacts", "size")
)
"""Knobs of evaluation and previews."""
MODE_SCALES = (-1.0, 1.75)
"""Between these, mode sampling never goes back on its way from noise to data (2 / (pi - 2) at most)."""


def broken_rules(config: RunConfig) -> Iterator[Broken]:
    """Each broken rule, with its fix."""
    yield from _too_small(config)
    yield from _sigmas(config)
    yield from _shares(config)
    yield from _pixels(config)
    yield from _held_out(config)
    yield from _saving(config)
    yield from _rate(config)
    yield from _kind(config)
    yield from _hardware(config)
    yield from _words(config)
    yield from _edit(config)
    yield from broken_export(config.export)
    if not config.export.name and set("/\\") & set(config.data.trigger):
        yield f"data.trigger is {config.data.trigger!r}, which cannot be a file's name", "set export.name"
    if config.export.dialects == (ExportDialect.peft,):
        problem = "export.dialects is peft alone: what lies beside it, for ComfyUI and diffusers, is made for a file"
        yield problem, "set export.dialects=[diffusers,peft]"


def broken_export(export: ExportConfig) -> Iterator[Broken]:
    """The rules of the export section, which the export of another tool's adapter has too."""
    yield from _places(export)
    if export.push_to_hub and export.push_to_hub.count("/") != 1:
        yield f"export.push_to_hub is {export.push_to_hub!r}, not a name on the hub", "set export.push_to_hub=org/name"
    for key, value in (("export.public", export.public), ("export.dry_run", export.dry_run)):
        if value and not export.push_to_hub:
            yield f"{key} is true, and nothing is pushed", "set export.push_to_hub=org/name"


def _places(export: ExportConfig) -> Iterator[Broken]:
    named = ", ".join(export.dialects)
    if not export.dialects:
        yield "export.dialects is empty: nothing would be exported", "set export.dialects=[diffusers]"
    if len(set(export.dialects)) < len(export.dialects):
        yield f"export.dialects names one twice: {named}", "name each once"
    if export.file and len(export.dialects) > 1:
        yield f"export.file is one file, and export.dialects are several: {named}", "set export.dir, or name one"
    is_file = export.file.endswith(".safetensors")
    if export.file and ExportDialect.peft not in export.dialects and not is_file:
        yield f"export.file is {export.file!r}", f"set export.file={export.file}.safetensors"
    if export.dialects == (ExportDialect.peft,) and is_file:
        folder = export.file.removesuffix(".safetensors")
        yield f"export.file is {export.file!r}, and peft is a folder", f"set export.file={folder}"
    if set("/\\") & set(export.name):
        yield f"export.name is {export.name!r}, a path", "put the folder into export.dir"


def _too_small(config: RunConfig) -> Iterator[Broken]:
    at_least_one = {
        "adapter.rank": (config.adapter.rank, "16 is a good start"),
        "train.steps": (config.train.steps, "about 80 for each image"),
        "train.batch_size": (config.train.batch_size, "1 needs the least memory"),
        "train.gradient_accumulation_steps": (config.train.gradient_accumulation_steps, "1 accumulates nothing"),
        "train.save_every": (config.train.save_every, "a tenth to a quarter of train.steps"),
        "data.repeats": (config.data.repeats, "1 shows each image once a round"),
        **{f"data.sources[{n}].repeats": (source.repeats, "1") for n, source in enumerate(config.data.sources)},
        "captioner.max_tokens": (config.captioner.max_tokens, "96 is enough for two sentences"),
        "model.max_sequence_length": (
            config.model.max_sequence_length,
            "512, or the length of the base",
        ),
        "model.distilled_steps": (config.model.distilled_steps, "4 for FLUX.2 klein"),
        "train.preservation_every": (config.train.preservation_every, "2 costs half as much as 1"),
        "evaluate.checkpoints": (config.evaluate.checkpoints, "3 shows a trend"),
        "evaluate.seeds": (config.evaluate.seeds, "2 or more give an interval"),
        "evaluate.steps": (config.evaluate.steps, "20 is enough to judge"),
        "preview.steps": (config.preview.steps, "20 is enough to judge"),
    }
    for key, (value, hint) in at_least_one.items():
        if value < 1:
            yield f"{key} is {value}", f"set {key} to 1 or more ({hint})"
    above_zero = {
        "adapter.alpha": (config.adapter.alpha, "the rank is a good value"),
        "train.learning_rate": (config.train.learning_rate, "1e-4 is a good start"),
        "train.max_grad_norm": (config.train.max_grad_norm, "1.0 is usual"),
        "train.shift": (config.train.shift, "1 shifts nothing"),
        "train.logit_std": (config.train.logit_std, "1.0 is usual"),
        "train.huber_c": (config.train.huber_c, "0.1 is usual"),
        "train.beta_alpha": (config.train.beta_alpha, "1 is even, 0.6 favours low sigmas"),
        "train.beta_beta": (config.train.beta_beta, "1 is even, 0.6 favours high sigmas"),
    }
    for key, (amount, hint) in above_zero.items():
        if not amount > 0:
            yield f"{key} is {amount:g}", f"set {key} above 0 ({hint})"
    not_below_zero = {
        "train.preservation": (config.train.preservation, "0 keeps nothing as it was"),
        "train.max_drift": (config.train.max_drift, "0 leaves the weight of preservation alone"),
        "captioner.expand": (config.captioner.expand, "0 expands nothing"),
        "train.max_skipped_steps": (config.train.max_skipped_steps, "0 stops at the first that is not finite"),
        "train.prior_loss_weight": (config.train.prior_loss_weight, "1 is usual"),
    }
    for key, (amount, hint) in not_below_zero.items():
        if amount < 0:
            yield f"{key} is {amount:g}", f"set {key} to 0 or more ({hint})"


def _sigmas(config: RunConfig) -> Iterator[Broken]:
    low, high = MODE_SCALES
    if not low < config.train.mode_scale <= high:
        yield f"train.mode_scale is {config.train.mode_scale:g}", f"set it above {low:g}, to {high:g} at most"
    if config.train.dynamic_shift and config.train.shift != 1:
        yield "train.dynamic_shift is on, and train.shift too", "set train.shift=1, or train.dynamic_shift=false"
    if config.train.unshifted_share and not config.train.dynamic_shift and config.train.shift == 1:
        yield (
            "train.unshifted_share is set, and no sigma is shifted",
            "set train.dynamic_shift=true or train.shift, or train.unshifted_share=0",
        )


def _shares(config: RunConfig) -> Iterator[Broken]:
    shares = {
        "train.caption_dropout": (config.train.caption_dropout, "0.05"),
        "train.unshifted_share": (config.train.unshifted_share, "0.3"),
        "data.mask_floor": (config.data.mask_floor, "0.1"),
        "data.max_crop": (config.data.max_crop, "0.25"),
        "evaluate.max_leakage": (config.evaluate.max_leakage, "0.25"),
        "evaluate.min_adherence": (config.evaluate.min_adherence, "0.85"),
        "evaluate.min_learned": (config.evaluate.min_learned, "0.2"),
        "evaluate.min_recognised": (config.evaluate.min_recognised, "0.4"),
        "evaluate.max_bleeding": (config.evaluate.max_bleeding, "0.25"),
        "evaluate.max_copying": (config.evaluate.max_copying, "0.2"),
        "evaluate.max_artefacts": (config.evaluate.max_artefacts, "0.15"),
    }
    for key, (value, usual) in shares.items():
        if not 0 <= value <= 1:
            yield f"{key} is {value:g}, not a share between 0 and 1", f"set {key}={usual}"


def broken_sizes(config: RunConfig, pixels_per_token: int) -> Iterator[Broken]:
    """Sides that are not whole image tokens of the base."""
    more = (("data.more_resolutions", pixels) for pixels in config.data.more_resolutions)
    for key, pixels in (("data.resolution", config.data.resolution), ("preview.size", config.preview.size), *more):
        if pixels % pixels_per_token:
            near = max(1, pixels // pixels_per_token) * pixels_per_token
            yield f"{key} is {pixels}, not a multiple of {pixels_per_token}", f"set {key}={near}"


def _held_out(config: RunConfig) -> Iterator[Broken]:
    wanted = config.data.held_out_images
    if wanted < 0 or wanted == 1:
        yield f"data.held_out_images is {wanted}: judging takes 2", "set it to 2 or more (3 is usual), or to 0"


def without_effect(config: RunConfig) -> Iterator[str]:
    """A sentence for each knob that is set and does nothing, because of another; a recipe may have left it behind."""
    usual, train = {each.name: each.default for each in fields(TrainConfig)}, vars(config.train)
    sampling, loss = SigmaSampling, LossType
    needed = {
        **dict.fromkeys(("logit_mean", "logit_std"), ("sigma_sampling", sampling.logit_normal)),
        "mode_scale": ("sigma_sampling", sampling.mode),
        **dict.fromkeys(("beta_alpha", "beta_beta"), ("sigma_sampling", sampling.beta)),
        "huber_c": ("loss_type", loss.huber),
    }
    for knob, (other, value) in needed.items():
        if train[knob] != usual[knob] and train[other] is not value:
            yield f"train.{knob} does nothing without train.{other}={value.value}"
    if config.train.class_images and not config.train.preservation:
        yield f"train.class_images is {config.train.class_images}, and none are made: train.preservation is 0"
    repeats = max(config.data.repeats, *(source.repeats for source in config.data.sources), 1)
    if config.data.crop is CropMode.random and repeats == 1:
        yield "data.crop is random, and each image has one crop for the whole run: each of data.repeats is another"
    if config.data.edits:
        yield from _only_for_subjects(config)


def _only_for_subjects(config: RunConfig) -> Iterator[str]:
    """An edit is judged by its pairs, at every checkpoint, and drawn at their sizes."""
    for name, section in (("evaluate", config.evaluate), ("preview", config.preview)):
        usual = {each.name: each.default for each in fields(section)}
        for knob in ONLY_FOR_SUBJECTS & usual.keys():
            if vars(section)[knob] != usual[knob]:
                yield f"{name}.{knob} does nothing for an edit"


def _pixels(config: RunConfig) -> Iterator[Broken]:
    if min(config.data.resolution, *config.data.more_resolutions, 1) < 1:
        yield "data.resolution or one of data.more_resolutions is not above 0", "set data.resolution=512"
    if config.preview.size < 0:
        yield f"preview.size is {config.preview.size}", "set preview.size=0, which takes data.resolution"
    if config.data.max_upscale < 1:
        yield f"data.max_upscale is {config.data.max_upscale:g}: it is a factor", "set data.max_upscale=1.0"


def _saving(config: RunConfig) -> Iterator[Broken]:
    train = config.train
    if train.save_every > train.steps > 0:
        yield (
            f"train.save_every is {train.save_every} but train.steps is {train.steps}: nothing would be saved midway",
            f"set train.save_every to {max(1, train.steps // 4)}",
        )
    if train.evaluate_every < 0 or train.evaluate_every % max(1, train.save_every):
        nearest = max(1, round(train.evaluate_every / max(1, train.save_every))) * train.save_every
        yield (
            f"train.evaluate_every is {train.evaluate_every}: checkpoints are scored, every {train.save_every} steps",
            f"set train.evaluate_every={nearest}",
        )
    if train.warmup_steps < 0 or train.warmup_steps >= max(1, train.steps):
        yield (
            f"train.warmup_steps is {train.warmup_steps} of {train.steps} steps: the full rate would never be reached",
            f"set train.warmup_steps to {max(0, train.steps // 20)}",
        )
    if not config.evaluate.strengths:
        yield "evaluate.strengths is empty: no checkpoint could be chosen", "set evaluate.strengths=[1.0]"
    for strength in config.evaluate.strengths:
        if not 0 < strength <= MOST_STRENGTH:
            yield (
                f"evaluate.strengths has {strength:g}: an adapter is judged above 0, and to {MOST_STRENGTH:g}",
                "set evaluate.strengths=[0.8,1.0]",
            )


def _rate(config: RunConfig) -> Iterator[Broken]:
    """Prodigy multiplies the rate that it finds by the recipe's: at AdamW's 1e-4 it would train nothing."""
    rate, prodigy = config.train.learning_rate, config.train.optimizer is OptimizerName.prodigy
    if prodigy and rate < LEAST_PRODIGY:
        yield (
            f"train.optimizer is prodigy, which finds the rate itself, and train.learning_rate is {rate:g} of that",
            "set train.learning_rate=1",
        )
    if not prodigy and rate >= LEAST_PRODIGY:
        yield (
            f"train.learning_rate is {rate:g}, which destroys any base with {config.train.optimizer.value}",
            "set train.learning_rate=1e-4, or train.optimizer=prodigy",
        )


def _kind(config: RunConfig) -> Iterator[Broken]:
    """What only some kinds of adapter can do."""
    kind, dora = config.adapter.kind, config.adapter.kind is AdapterKind.dora
    if config.adapter.start and kind is not AdapterKind.lora:
        yield f"adapter.start begins from a LoRA, and adapter.kind is {kind}", "set adapter.kind=lora"
    if dora and set(config.evaluate.strengths) - {1.0}:
        yield "adapter.kind is dora, which no file can hold at another strength than 1", "set evaluate.strengths=[1.0]"
    if dora and config.train.optimizer is OptimizerName.muon:
        yield "adapter.kind is dora, and muon takes matrices only", "set train.optimizer=adamw"
    if kind in WHOLE_WEIGHTS and config.hardware.quantize is Quantization.nf4:
        yield (
            f"adapter.kind is {kind}, and hardware.quantize is nf4, which peft has not for it",
            "set hardware.quantize=int8",
        )


def _hardware(config: RunConfig) -> Iterator[Broken]:
    hardware = config.hardware
    if config.train.optimizer is OptimizerName.adamw8bit and hardware.device is Device.cpu:
        yield "train.optimizer is adamw8bit, which needs CUDA, and hardware.device is cpu", "set train.optimizer=adamw"
    if hardware.threads < 0:
        yield f"hardware.threads is {hardware.threads}", "set hardware.threads to 0 (torch decides) or more"


def _words(config: RunConfig) -> Iterator[Broken]:
    if config.data.trigger.strip() and config.data.trigger.strip().lower() == config.data.class_word.strip().lower():
        yield (
            f"data.trigger and data.class_word are both {config.data.trigger!r}: the class itself would be overwritten",
            "choose a rare word as data.trigger",
        )


def _edit(config: RunConfig) -> Iterator[Broken]:
    """What an edit has no use for is refused, and not passed over."""
    if not config.data.edits:
        if config.data.reference_folders:
            yield "data.reference_folders is for edits", "take recipe=edit, or set data.kind=edit"
        return
    subjects = "judges subjects, and data.kind is edit"
    refused = {
        "train.preservation holds the class of a subject, and an edit has none": config.train.preservation,
        "data.alpha=varied gives before and after different grounds": config.data.alpha is AlphaPolicy.varied,
        f"data.prompts {subjects}": config.data.prompts,
        f"train.evaluate_every {subjects}": config.train.evaluate_every,
        f"evaluate.description {subjects}": config.evaluate.description,
        "preview.prompts are drawn from words alone, and data.kind is edit": config.preview.prompts,
        "model.distilled is not tried with edits": config.model.distilled,
    }
    for problem, given in refused.items():
        if given:
            yield problem, f"leave {re.split('[ =]', problem)[0]} out, or at its default"
