"""prepare: encode photos, captions and prompts into the cache, so that training needs no encoder."""

import json
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

from rich.console import Console

from flux_lora.commands.check import Material, clear
from flux_lora.commands.machine import Machine, machine_of
from flux_lora.commands.run_folder import RunFolder, open_folder
from flux_lora.commands.summary import stage
from flux_lora.config.schema import RunConfig
from flux_lora.data.cache import Encoded, Encoders, encode_all, encode_captions
from flux_lora.data.encoders import flux1_encoders
from flux_lora.data.plain import without_trigger
from flux_lora.data.plan import Prepared, plan
from flux_lora.errors import RunError
from flux_lora.models.family import Text, stacked


@dataclass(frozen=True)
class Ready:
    """All that training and rendering need of photos and words."""

    material: Material
    encoded: tuple[Encoded, ...]
    empty: Text
    fingerprint: str
    """Changes with any pixel, crop or caption."""


def prepare(config: RunConfig) -> int:
    """Check, plan and encode; 1 if there are warnings and strict is set."""
    material, code = clear(config)
    if code:
        return code
    folder = open_folder(config)
    with stage(folder, "prepare"):
        get_ready(config, folder, material, machine_of(config.hardware))
    return 0


def get_ready(config: RunConfig, folder: RunFolder, material: Material, machine: Machine) -> Ready:
    """Encode what the cache lacks. VAE and text encoders are out of memory when this returns."""
    prepared = plan(material.samples, config.data.resolution)
    fingerprint = _fingerprint(prepared)
    _refuse_other_pictures(folder, fingerprint)
    _write_manifest(folder, prepared, fingerprint)
    encoders = _encoders(config, machine)
    with Console(stderr=True).status("encoding") as status:
        plain = partial(without_trigger, trigger=config.data.trigger, class_word=config.data.class_word)
        captions = [one.sample.caption for one in prepared]
        words = ["", *captions, *map(plain, captions), *material.suite.prompts, *preview_prompts(config, material)]
        empty = encode_captions(words, encoders, folder.cache, told=status.update)[0]
        encoded = encode_all(
            prepared, encoders, folder.cache, plain=plain, alpha=config.data.alpha, told=status.update
        )
    repeated = tuple(one for one in encoded for _ in range(config.data.repeats))
    return Ready(material=material, encoded=repeated, empty=empty, fingerprint=fingerprint)


def encoded_prompts(config: RunConfig, folder: RunFolder, prompts: tuple[str, ...], machine: Machine) -> Text:
    """Prompts as the transformer hears them, one row each; from the cache where they were prepared."""
    return stacked(encode_captions(prompts, _encoders(config, machine), folder.cache))


def preview_prompts(config: RunConfig, material: Material) -> tuple[str, ...]:
    """What previews show: the recipe's prompts, or the first two that the adapter is judged by."""
    words = {"{trigger}": config.data.trigger, "{class}": config.data.class_word}
    chosen = []
    for prompt in config.preview.prompts:
        for placeholder, word in words.items():
            prompt = prompt.replace(placeholder, word)
        chosen.append(prompt)
    return tuple(chosen) or material.suite.trigger[:2]


def _encoders(config: RunConfig, machine: Machine) -> Encoders:
    return flux1_encoders(
        config.model.path,
        tokens=config.model.text_tokens,
        device=machine.device,
        text_dtype=machine.dtype,
        revision=config.model.revision,
    )


def _fingerprint(prepared: list[Prepared]) -> str:
    digest = sha256()
    for one in prepared:
        digest.update(one.sample.image.read_bytes())
        digest.update(f"|{one.sample.caption}|{one.bucket}|".encode())
    return digest.hexdigest()[:32]


def _refuse_other_pictures(folder: RunFolder, fingerprint: str) -> None:
    if not folder.manifest.is_file() or not (folder.root / "checkpoints").is_dir():
        return
    before = json.loads(folder.manifest.read_text(encoding="utf-8").splitlines()[0])
    if before.get("fingerprint") != fingerprint:
        raise RunError(
            f"the pictures or captions have changed since {folder.root} was begun",
            fix="set run.dir to a new folder; what is cached is used again, so only the changes are encoded",
        )


def _write_manifest(folder: RunFolder, prepared: list[Prepared], fingerprint: str) -> None:
    """The first line is about the set, then one line a picture."""
    lines = [{"fingerprint": fingerprint, "pictures": len(prepared)}]
    lines += [_line(one) for one in prepared]
    folder.manifest.parent.mkdir(parents=True, exist_ok=True)
    half_written: Path = folder.manifest.with_suffix(".partial")
    half_written.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    half_written.replace(folder.manifest)


def _line(one: Prepared) -> dict[str, object]:
    return {
        "image": str(one.sample.image),
        "caption": one.sample.caption,
        "bucket": [one.bucket.width, one.bucket.height],
        "scale": round(one.scale, 4),
        "cropped": round(one.cropped, 4),
    }
