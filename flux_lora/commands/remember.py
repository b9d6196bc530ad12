"""What the adapter is reminded of while it learns: pictures without the trigger, the base's own among them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch

from flux_lora.commands.pictures import Pipeline
from flux_lora.config.schema import RunConfig
from flux_lora.data.cache import EncodedDataset, EncodedSample, EntryNames
from flux_lora.data.cache.entries import LATENT, TEXT, entry_name, has_entry, write_entry
from flux_lora.models.family import PromptEmbeds, stack_prompt_embeds
from flux_lora.models.fingerprint import fingerprint
from flux_lora.models.flux1.places import part_folder
from flux_lora.render.sampler import imagine
from flux_lora.render.spec import RenderSpec

FIRST_SEED = 10_000
"""Far from the seeds of previews and evaluation: what is judged is never practised."""


@dataclass(frozen=True)
class ClassImage:
    """One picture that the base is to make: of what, from which noise, and where it is kept."""

    prompt: str
    seed: int
    keys: EntryNames


def class_images_of(config: RunConfig, prompts: Sequence[str], texts: str) -> tuple[ClassImage, ...]:
    """The pictures to make, prompt after prompt and then again with other noise. `texts` names the text encoders."""
    base = fingerprint(part_folder(config.model.path, "transformer", config.model.revision))
    chosen = [prompts[number % len(prompts)] for number in range(config.train.memories)] if prompts else []
    seeds = [FIRST_SEED + number // len(prompts) for number in range(len(chosen))]
    return tuple(
        ClassImage(prompt, seed, _keys(prompt, texts, (base, str(class_image_spec(config, prompt, seed)))))
        for prompt, seed in zip(chosen, seeds, strict=True)
    )


def render_class_images(
    config: RunConfig, wanted: Sequence[ClassImage], texts: Sequence[PromptEmbeds], painter: Pipeline, cache: Path
) -> None:
    """Have the base make what the cache lacks; `painter` must hold no adapter yet. `texts` go with `wanted`."""
    missing = [pair for pair in zip(wanted, texts, strict=True) if not has_entry(cache, pair[0].keys.latent)]
    for seed in sorted({memory.seed for memory, _ in missing}):
        these = [(memory, text) for memory, text in missing if memory.seed == seed]
        spec = replace(class_image_spec(config, "", seed), prompts=tuple(memory.prompt for memory, _ in these))
        text = stack_prompt_embeds([text for _, text in these])
        made = imagine(painter.transformer, painter.vae, painter.scheduler, text, spec).float()
        for (memory, _), latent in zip(these, made, strict=True):
            write_entry(cache, memory.keys.latent, {"latent": latent, "spread": torch.zeros_like(latent)})


def preservation_samples(encoded: EncodedDataset, cache: Path, wanted: Sequence[ClassImage]) -> Sequence[EncodedSample]:
    """Every training picture under its caption without the trigger, and every memory."""
    plain = [replace(keys, texts=keys.plains, mask="") for keys in encoded.keys]
    return EncodedDataset(cache, [*plain, *(memory.keys for memory in wanted)])


def class_image_spec(config: RunConfig, prompt: str, seed: int) -> RenderSpec:
    """A square picture, made as evaluation makes its own."""
    return RenderSpec(
        prompts=(prompt,),
        seeds=(seed,),
        width=config.data.resolution,
        height=config.data.resolution,
        text_tokens=config.model.text_tokens,
        steps=config.evaluate.steps,
        guidance=config.model.render_guidance,
    )


def class_prompts(plains: Sequence[str], kept: Sequence[str]) -> tuple[str, ...]:
    """Ordinary things of the class and quite other things, in turn."""
    ordinary, other = list(dict.fromkeys(plains)), list(dict.fromkeys(kept))
    turns = [pair for both in zip(ordinary, other, strict=False) for pair in both]
    longer = max(ordinary, other, key=len)
    return (*turns, *islice(longer, min(len(ordinary), len(other)), None))


def _keys(prompt: str, texts: str, made_by: tuple[str, str]) -> EntryNames:
    text = entry_name(TEXT, texts, prompt)
    return EntryNames(latent=entry_name(LATENT, "memory", *made_by), texts=(text,), plains=(text,))
