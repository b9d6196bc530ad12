"""Class images and preservation samples: what holds the adapter to the base where the trigger is not said.

Class images (DreamBooth's word; kohya calls them regularisation images) are images that the base itself makes of
ordinary things. Only their latents are made and kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch

from flux_lora.config.schema import RunConfig
from flux_lora.data.cache import EncodedDataset, EntryNames
from flux_lora.data.cache.entries import LATENT, TEXT, entry_name, has_entry, write_entry
from flux_lora.models.family import Pipeline, PromptEmbeds
from flux_lora.render.pipeline import images_at_once, sample_latents
from flux_lora.render.spec import RenderSpec
from flux_lora.runs.run import Run, spec_of

FIRST_SEED = 10_000
"""Far from the seeds of previews and evaluation: what is judged is never practised."""


@dataclass(frozen=True)
class ClassImage:
    """One image that the base is to make: its prompt and seed, and the cache entries it is kept in."""

    prompt: str
    seed: int
    keys: EntryNames


def class_images_of(run: Run, prompts: Sequence[str]) -> tuple[ClassImage, ...]:
    """train.class_images of them: prompt after prompt, and then again with other seeds."""
    config, encoders = run.config, run.encoders
    base = run.transformer_fingerprint
    chosen = [prompts[number % len(prompts)] for number in range(config.train.class_images)] if prompts else []
    seeds = [FIRST_SEED + number // len(prompts) for number in range(len(chosen))]
    return tuple(
        ClassImage(prompt, seed, _keys(prompt, encoders.caption_fingerprint, base, _spec(config, (prompt,), seed)))
        for prompt, seed in zip(chosen, seeds, strict=True)
    )


def render_class_images(run: Run, images: Sequence[ClassImage], pipeline: Pipeline) -> None:
    """Have the base make what the cache lacks; the pipeline must hold no adapter yet."""
    embeds = run.encode_prompts([image.prompt for image in images])
    cache = run.folder.cache
    missing = [pair for pair in zip(images, embeds, strict=True) if not has_entry(cache, pair[0].keys.latent)]
    if not missing:
        return
    side, done = run.config.data.resolution, 0
    at_once = images_at_once(side, side)
    with run.feedback.progress("making class images", keeps=True) as progress:
        for seed in sorted({image.seed for image, _ in missing}):
            of_seed = [pair for pair in missing if pair[0].seed == seed]
            for some in (of_seed[start : start + at_once] for start in range(0, len(of_seed), at_once)):
                _render_seed(some, seed, run, pipeline)
                done += len(some)
                progress(done, len(missing), "")


def preservation_samples(encoded: EncodedDataset, cache: Path, images: Sequence[ClassImage]) -> EncodedDataset:
    """The class images; without any, every training image under its caption without the trigger.

    Training images stay out where there are others: noise through which the subject can be seen contradicts a caption
    that does not name it, and holding the adapter to the base there hinders learning (docs/preservation.md).
    """
    if images:
        return EncodedDataset(cache, [image.keys for image in images])
    return EncodedDataset(cache, [replace(keys, texts=keys.plains, mask="") for keys in encoded.keys])


def class_prompts(untriggered: Sequence[str], kept: Sequence[str]) -> tuple[str, ...]:
    """Captions without the trigger (ordinary things of the class) and quite other prompts, in turn."""
    ordinary, other = list(dict.fromkeys(untriggered)), list(dict.fromkeys(kept))
    turns = [prompt for both in zip(ordinary, other, strict=False) for prompt in both]
    longer = max(ordinary, other, key=len)
    return (*turns, *islice(longer, min(len(ordinary), len(other)), None))


def _render_seed(missing: Sequence[tuple[ClassImage, PromptEmbeds]], seed: int, run: Run, pipeline: Pipeline) -> None:
    """Latents of class images that share a seed."""
    spec = _spec(run.config, tuple(image.prompt for image, _ in missing), seed)
    latents = sample_latents(pipeline, [embeds for _, embeds in missing], spec).float()
    for (image, _), latent in zip(missing, latents, strict=True):
        write_entry(run.folder.cache, image.keys.latent, {"latent": latent, "spread": torch.zeros_like(latent)})


def _spec(config: RunConfig, prompts: tuple[str, ...], seed: int) -> RenderSpec:
    """A square image, made as evaluation makes its own."""
    return spec_of(config, prompts, (seed,), steps=config.evaluate.steps)


def _keys(prompt: str, caption_fingerprint: str, base: str, spec: RenderSpec) -> EntryNames:
    """The latent's name is made of everything that made it; "memory" is what caches have always called it."""
    text = entry_name(TEXT, caption_fingerprint, prompt)
    return EntryNames(latent=entry_name(LATENT, "memory", base, str(spec)), texts=(text,), plains=(text,))
