"""dataset/manifest.jsonl: what a run was prepared from, and which entries of the cache it needs."""

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from flux_lora.commands.remember import ClassImage
from flux_lora.commands.run_folder import RunFolder
from flux_lora.data.cache import EncodeResult, EntryNames
from flux_lora.data.planning.plan import Plan, Prepared
from flux_lora.errors import RunError


def fingerprint_of(planned: Plan, keys: Sequence[EntryNames]) -> str:
    """Of what is trained on: the cache's names stand for every pixel and word, and for who encoded them."""
    shown = [one.exposures for one in planned.prepared]
    return sha256(repr(list(zip(keys, shown, strict=True))).encode()).hexdigest()[:32]


def refuse_other_pictures(folder: RunFolder, fingerprint: str) -> None:
    """A run that was begun with other pictures or captions is not gone on with."""
    if not folder.manifest.is_file() or not (folder.root / "checkpoints").is_dir():
        return
    before = json.loads(folder.manifest.read_text(encoding="utf-8").splitlines()[0])
    if before.get("fingerprint") != fingerprint:
        raise RunError(
            f"the pictures or captions have changed since {folder.root} was begun",
            fix="set run.dir to a new folder; what is cached is used again, so only the changes are encoded",
        )


def write_manifest(
    folder: RunFolder, planned: Plan, made: EncodeResult, remembered: Sequence[ClassImage], fingerprint: str
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


def _named(keys: EntryNames) -> dict[str, object]:
    """The entries that a picture needs; `flux-lora cache prune` spares them."""
    return {"latent": keys.latent, "mask": keys.mask, "texts": keys.texts, "plains": keys.plains}
