"""prepare: encode photos, captions and prompts into the cache, so that training needs no encoder."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

from flux_lora.commands.check import clear
from flux_lora.commands.dataset_page import write_dataset_page
from flux_lora.commands.machine import Machine, machine_of
from flux_lora.commands.material import Material
from flux_lora.commands.progress import bar
from flux_lora.commands.remember import Memory, memories, prompts_to_keep
from flux_lora.commands.run_folder import RunFolder, open_folder
from flux_lora.commands.summary import note, stage
from flux_lora.config.schema import RunConfig
from flux_lora.data.cache import Encoders, Keys, Made, Shelf, Stage, Wanted, encode_all, encode_captions
from flux_lora.data.encoders import flux1_encoders
from flux_lora.data.plain import without_trigger
from flux_lora.data.planning.plan import Plan, Prepared
from flux_lora.errors import RunError
from flux_lora.models.family import Text


@dataclass(frozen=True)
class Ready:
    """All that training and rendering need of photos and words."""

    material: Material
    encoded: Shelf
    """One for each of material.planned.prepared, in that order."""
    empty: Text
    memories: tuple[Memory, ...]
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
    planned = material.planned
    encoders = _encoders(config, machine)
    plain = partial(without_trigger, trigger=config.data.trigger, class_word=config.data.class_word)
    plains = [plain(caption) for one in planned.prepared for caption in one.sample.captions]
    remembered = memories(config, prompts_to_keep(plains, material.suite.kept), encoders.captions)
    prompts = (*material.suite.prompts, *preview_prompts(config, material), *(each.prompt for each in remembered))
    wanted = Wanted(alpha=config.data.alpha, masks=config.data.masks, plain=plain, words=("", *prompts))
    with bar("encoding") as told:
        made = encode_all(planned.prepared, encoders, folder.cache, wanted=wanted, told=told)
    fingerprint = _fingerprint(planned, made.encoded.keys)
    _refuse_other_pictures(folder, fingerprint)
    _write_manifest(folder, planned, made, remembered, fingerprint)
    if config.check.page:
        write_dataset_page(config, material, folder.dataset_page)
    note(folder, {"encoding": [_in_numbers(each) for each in made.stages]})
    empty = encode_captions([""], encoders, folder.cache)[0]
    return Ready(material, made.encoded, empty, remembered, fingerprint)


def encoded_prompts(config: RunConfig, folder: RunFolder, prompts: Sequence[str], machine: Machine) -> list[Text]:
    """Prompts as the transformer hears them, each a batch of one; from the cache where they were prepared."""
    return encode_captions(prompts, _encoders(config, machine), folder.cache)


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


def _fingerprint(planned: Plan, keys: Sequence[Keys]) -> str:
    """Of what is trained on: the cache's names stand for every pixel and word, and for who encoded them."""
    shown = [one.exposures for one in planned.prepared]
    return sha256(repr(list(zip(keys, shown, strict=True))).encode()).hexdigest()[:32]


def _refuse_other_pictures(folder: RunFolder, fingerprint: str) -> None:
    if not folder.manifest.is_file() or not (folder.root / "checkpoints").is_dir():
        return
    before = json.loads(folder.manifest.read_text(encoding="utf-8").splitlines()[0])
    if before.get("fingerprint") != fingerprint:
        raise RunError(
            f"the pictures or captions have changed since {folder.root} was begun",
            fix="set run.dir to a new folder; what is cached is used again, so only the changes are encoded",
        )


def _write_manifest(
    folder: RunFolder, planned: Plan, made: Made, remembered: Sequence[Memory], fingerprint: str
) -> None:
    """The first line is about the set, then one line a picture, and one for each that the base is to make."""
    about = {"fingerprint": fingerprint, "pictures": len(planned.prepared), "texts": made.words}
    lines: list[dict[str, object]] = [about]
    lines += [{**_line(one), **_named(each)} for one, each in zip(planned.prepared, made.encoded.keys, strict=True)]
    lines += [{"memory": each.prompt, "seed": each.seed, **_named(each.keys)} for each in remembered]
    folder.manifest.parent.mkdir(parents=True, exist_ok=True)
    half_written: Path = folder.manifest.with_suffix(".partial")
    half_written.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    half_written.replace(folder.manifest)


def _line(one: Prepared) -> dict[str, object]:
    return {
        "image": str(one.sample.image),
        "captions": one.sample.captions,
        "role": one.sample.role.value,
        "bucket": [one.bucket.width, one.bucket.height],
        "box": [round(edge, 2) for edge in (one.box.left, one.box.top, one.box.right, one.box.bottom)],
        "scale": round(one.scale, 4),
        "cropped": round(one.cropped, 4),
        "exposures": one.exposures,
    }


def _named(keys: Keys) -> dict[str, object]:
    """The entries that a picture needs; `flux-lora cache prune` spares them."""
    return {"latent": keys.latent, "mask": keys.mask, "texts": keys.texts, "plains": keys.plains}


def _in_numbers(made: Stage) -> dict[str, object]:
    seconds, gib = round(made.seconds, 2), 2**30
    return {
        "stage": made.name,
        "seconds": seconds,
        "peak_gib": round(made.peak_bytes / gib, 2),
        "gpu_peak_gib": round(made.gpu_bytes / gib, 2),
    }
