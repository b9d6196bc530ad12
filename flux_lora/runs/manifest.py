"""dataset/manifest.jsonl: what a run was prepared from, and which entries of the cache it needs."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from flux_lora.atomic import write_text
from flux_lora.config.choices import SourceRole
from flux_lora.data.bucketing.plan import Plan, Prepared
from flux_lora.data.cache import EncodeResult, EntryNames
from flux_lora.errors import RunError
from flux_lora.runs.dataset import RunDataset
from flux_lora.runs.folder import RunFolder
from flux_lora.runs.regularization import ClassImage


@dataclass(frozen=True)
class Contents:
    """Digests of what a run is trained on, wherever it lies."""

    fingerprint: str
    """Of images, captions, VAE and text encoders; see fingerprint_of."""
    base: str
    """Of the transformer."""
    class_images: str = ""
    """Of the images that the base makes for the preservation loss; empty where there are none."""


def fingerprint_of(planned: Plan, keys: Sequence[EntryNames]) -> str:
    """A digest of what is trained on: the cache's names stand for every pixel, every caption and the encoders.

    Run folders of version 0 hold it, so it is spelled as they spelled it: EntryNames was called Keys, and had no
    references.
    """
    exposures = [one.exposures for one in planned.prepared]
    spelled = repr(list(zip(keys, exposures, strict=True))).replace("EntryNames(", "Keys(")
    spelled = spelled.replace(", references=()", "")
    return sha256(spelled.encode()).hexdigest()[:32]


def refuse_other_contents(folder: RunFolder, contents: Contents) -> None:
    """A run that was begun with other images or captions, or on another base, is not gone on with; paths may differ."""
    if not folder.manifest.is_file() or not (folder.root / "checkpoints").is_dir():
        return
    before = next(_read(folder))
    if before.get("fingerprint") != contents.fingerprint:
        raise RunError(
            f"the images or captions have changed since {folder.root} was begun",
            fix="set run.dir to a new folder; what is cached is used again, so only the changes are encoded",
        )
    if before.get("base", contents.base) != contents.base:
        raise RunError(
            f"model.path leads to another base than the one that {folder.root} was begun on",
            fix="set model.path to that base, wherever it is now, or run.dir to a new folder",
        )
    if before.get("class_images", contents.class_images) != contents.class_images:
        raise RunError(
            f"the class images are other ones than those that {folder.root} was begun with",
            fix="put [kept] of the prompts and evaluate.steps, with which they are made, back to what they were, or "
            "set run.dir to a new folder",
        )


def class_images_digest(images: Sequence[ClassImage]) -> str:
    """Changes with any prompt, seed or size of theirs, and with the base."""
    return sha256(repr([image.keys.latent for image in images]).encode()).hexdigest()[:32] if images else ""


def write_manifest(
    folder: RunFolder, dataset: RunDataset, made: EncodeResult, remembered: Sequence[ClassImage], contents: Contents
) -> None:
    """The first line is about all of it, then one line an image, and one for each that the base is to make."""
    planned, pixels = dataset.planned, {one.sample.image: one.stats.digest for one in dataset.scanned if one.stats}
    about = {**asdict(contents), "pictures": len(planned.prepared), "texts": made.words}
    lines: list[dict[str, object]] = [about]
    lines += [
        {**_line(one), "pixels": pixels.get(one.sample.image, ""), **_named(each)}
        for one, each in zip(planned.prepared, made.encoded.keys, strict=True)
    ]
    lines += [{"memory": each.prompt, "seed": each.seed, **_named(each.keys)} for each in remembered]
    write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), folder.manifest)


def images_trained_on(folder: RunFolder) -> frozenset[str]:
    """The images of the subject that a run was prepared from; none where it was not prepared."""
    return frozenset(line["image"] for line in _of_the_subject(folder))


def captions_trained_on(folder: RunFolder) -> list[str]:
    """The first caption of each of them."""
    return [line["captions"][0] for line in _of_the_subject(folder) if line["captions"]]


def references_trained_on(folder: RunFolder) -> list[Path]:
    """What they were made from, for an edit."""
    return [Path(file) for line in _of_the_subject(folder) for file in line.get("made_from", ())]


def pixels_trained_on(folder: RunFolder) -> frozenset[str]:
    """The digests of those images' pixels, wherever they lie now and whatever they are called."""
    return frozenset(line["pixels"] for line in _of_the_subject(folder) if line.get("pixels"))


def fingerprint_in(folder: RunFolder) -> str:
    """The digest of what a run was prepared from; empty where it was not."""
    return str(next(_read(folder), {}).get("fingerprint", ""))


def _of_the_subject(folder: RunFolder) -> Iterator[dict[str, Any]]:
    return (line for line in _read(folder) if line.get("role") == SourceRole.subject)


def _read(folder: RunFolder) -> Iterator[dict[str, Any]]:
    """Its lines; none where a run was not prepared."""
    if folder.manifest.is_file():
        yield from map(json.loads, folder.manifest.read_text(encoding="utf-8").splitlines())


def _line(one: Prepared) -> dict[str, object]:
    return {
        "image": str(one.sample.image),
        "captions": one.sample.captions,
        **({"made_from": [str(file) for file in one.sample.references]} if one.sample.references else {}),
        "role": one.sample.role.value,
        "bucket": [one.bucket.width, one.bucket.height],
        "box": [round(edge, 2) for edge in (one.box.left, one.box.top, one.box.right, one.box.bottom)],
        "scale": round(one.scale, 4),
        "cropped": round(one.cropped, 4),
        "exposures": one.exposures,
    }


def _named(keys: EntryNames) -> dict[str, object]:
    """The entries that an image needs; `flux-lora cache prune` spares them."""
    named: dict[str, object] = {"latent": keys.latent, "mask": keys.mask, "texts": keys.texts, "plains": keys.plains}
    return named | ({"references": keys.references} if keys.references else {})
