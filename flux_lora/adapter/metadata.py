"""The metadata of exported files (modelspec, sd-scripts, ours), what derived files inherit, and hashes.

| hash | of what | who uses it |
|---|---|---|
| sha256 | the whole file | downloads, Hugging Face |
| AutoV2 | its first 10 digits | Civitai, A1111's managers |
| AutoV1 | 64 KiB after the first MiB, 8 digits | old webuis |
| sshs_model_hash | all bytes after the header | A1111 and Forge, whose images quote its first 12 digits |
| AutoV3 | those 12 digits | Civitai, ComfyUI's LoRA managers |
| sshs_legacy_hash | as AutoV1, of the file with ss_ metadata alone | sd-webui-additional-networks |

A1111 and Forge trust the hash in a file's metadata, and Civitai computes it: where the two differ, an image's
LoRA is not found. So what is written is computed from the file's bytes, in lower case and without 0x.
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from PIL import Image
from safetensors import safe_open

from flux_lora.adapter.header import LENGTH_BYTES, FileHeader, header_bytes, read_header
from flux_lora.adapter.layer_types import Adapter
from flux_lora.atomic import replacing
from flux_lora.errors import AdapterFileError
from flux_lora.models.programs import Programs

SIDE = 256
"""Pixels of a thumbnail's longer side."""
MOST_BYTES = 64 * 1024
"""Of the JPEG. It is read with the header, by every program that lists the file."""
QUALITIES = (90, 75, 60, 40, 20)


def thumbnail(image: Image.Image) -> str:
    """modelspec.thumbnail: a JPEG of at most SIDE pixels and MOST_BYTES as a data URI, on white where transparent."""
    small = image.convert("RGBA")
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    opaque = Image.new("RGB", small.size, "white")
    opaque.paste(small, mask=small.getchannel("A"))
    jpegs = (_jpeg(opaque, quality) for quality in QUALITIES)
    jpeg = next(jpeg for jpeg in jpegs if len(jpeg) <= MOST_BYTES)
    return f"data:image/jpeg;base64,{b64encode(jpeg).decode()}"


def _jpeg(image: Image.Image, quality: int) -> bytes:
    encoded = BytesIO()
    image.save(encoded, "JPEG", quality=quality, optimize=True)
    return encoded.getvalue()


NON_COMMERCIAL = re.compile(r"non.?commercial|\bnc\b|kommunity", re.IGNORECASE)
LOCAL_PATH = re.compile(r"(/|~|\\\\|[A-Za-z]:[\\/]).*", re.DOTALL)
"""An absolute path. It means something on one machine alone, and may hold a person's name."""
FROM_RECIPE: Mapping[str, str] = {
    "ss_batch_size_per_device": "train.batch_size",
    "ss_caption_dropout_rate": "train.caption_dropout",
    "ss_discrete_flow_shift": "train.shift",
    "ss_guidance_scale": "model.train_guidance",
    "ss_learning_rate": "train.learning_rate",
    "ss_lr_scheduler": "train.lr_scheduler",
    "ss_lr_warmup_steps": "train.warmup_steps",
    "ss_max_grad_norm": "train.max_grad_norm",
    "ss_max_train_steps": "train.steps",
    "ss_optimizer": "train.optimizer",
    "ss_seed": "train.seed",
}
"""sd-scripts' key -> the recipe's key of the same meaning."""


@dataclass(frozen=True, kw_only=True)
class Label:
    """What the metadata of an exported file is made of."""

    title: str
    trigger: str
    base: str
    """The base model: its hub id or name."""
    architecture: str
    """modelspec's name of the release that the base was made from."""
    programs: Programs
    """The base's family in other programs."""
    date: str
    """ISO 8601."""
    resolution: int
    licence: str = ""
    recipe: str = "{}"
    """The resolved recipe, as JSON."""
    dataset: str = ""
    """Fingerprint of the training images and captions."""
    versions: Mapping[str, str] = field(default_factory=dict)
    scores: str = "{}"
    """The evaluation scores, as JSON."""
    class_word: str = ""
    author: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    images: int = 0
    """Number of training images."""
    strength: float = 1.0
    """The strength to load the file at."""
    thumbnail: str = ""
    """A small JPEG as a data URI; see thumbnail()."""
    merged_from: tuple[str, ...] = ()
    """Titles of the files that were merged into this one."""


def is_non_commercial(licence: str) -> bool:
    """Whether the licence, by its name, forbids commercial use."""
    return bool(NON_COMMERCIAL.search(licence))


def metadata_of(label: Label, adapter: Adapter) -> dict[str, str]:
    """The label as metadata, under the keys of modelspec, of sd-scripts and of this package.

    Never `lora_adapter_metadata`: diffusers would build peft's config from it, and a peft
    of another version stops on fields that it does not know. What depends on the tensors as
    they are written, `add_metadata` adds: ss_network_*, hashes.
    """
    facts = {"format": "pt", **_modelspec(label), **_sd_scripts(label), **_ours(label, adapter)}
    return {key: value for key, value in facts.items() if value}


def _modelspec(label: Label) -> dict[str, str]:
    return {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"{label.architecture}/lora",
        "modelspec.implementation": label.programs.implementation,
        "modelspec.title": label.title,
        "modelspec.author": label.author,
        "modelspec.description": label.description,
        "modelspec.trigger_phrase": label.trigger,
        "modelspec.tags": ", ".join(label.tags),
        "modelspec.usage_hint": _usage_hint(label),
        "modelspec.date": label.date,
        "modelspec.resolution": f"{label.resolution}x{label.resolution}",
        "modelspec.license": label.licence,
        "modelspec.thumbnail": label.thumbnail,
        "modelspec.merged_from": ", ".join(label.merged_from),
    }


def _usage_hint(label: Label) -> str:
    strength = f"Load it at strength {label.strength:g}"
    if not label.trigger:
        return f"{strength}."
    return f"{strength} and write {f'{label.trigger} {label.class_word}'.strip()!r} in the prompt."


def _sd_scripts(label: Label) -> dict[str, str]:
    recipe = json.loads(label.recipe)
    facts = {
        "ss_base_model_version": label.programs.sd_scripts,
        "ss_sd_model_name": label.base,
        "ss_output_name": label.title,
        "ss_resolution": f"({label.resolution}, {label.resolution})",
        "ss_model_prediction_type": "raw",
    }
    for key, setting in FROM_RECIPE.items():
        section, knob = setting.split(".")
        facts[key] = str(recipe.get(section, {}).get(knob, ""))
    if recipe.get("train", {}).get("dynamic_shift"):
        del facts["ss_discrete_flow_shift"]  # each size has one of its own
    if label.images and label.trigger:
        folder = label.class_word or label.title
        facts["ss_num_train_images"] = str(label.images)
        facts["ss_dataset_dirs"] = json.dumps({folder: {"n_repeats": 1, "img_count": label.images}})
        facts["ss_tag_frequency"] = json.dumps({folder: {label.trigger: label.images}})
    return facts


def _ours(label: Label, adapter: Adapter) -> dict[str, str]:
    recipe = _without_local_paths(json.loads(label.recipe))
    licensed = {"flux_lora.non_commercial": str(is_non_commercial(label.licence)).lower()}
    return {
        "flux_lora.base": label.base,
        **(licensed if label.licence else {}),
        "flux_lora.alpha": f"{adapter.alphas[0]:g}" if len(adapter.alphas) == 1 else DYNAMIC,
        "flux_lora.recipe": json.dumps(recipe, ensure_ascii=False) if recipe else "",
        "flux_lora.dataset": label.dataset,
        "flux_lora.versions": json.dumps(dict(sorted(label.versions.items()))),
        "flux_lora.scores": label.scores if label.scores != "{}" else "",
    }


def _without_local_paths(tree: object) -> object:
    """The recipe with each absolute path cut to its last part: /home/jane/photos/mug becomes mug."""
    if isinstance(tree, Mapping):
        return {key: _without_local_paths(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_without_local_paths(item) for item in tree]
    if isinstance(tree, str) and LOCAL_PATH.fullmatch(tree):
        return re.split(r"[\\/]", tree.rstrip("\\/"))[-1]
    return tree


CHUNK_BYTES = 2**20
WINDOW_START, WINDOW_BYTES = 0x100000, 0x10000
OF_NOTHING = sha256().hexdigest()
"""The sha256 of no bytes. Some tools write it by mistake, and many files then share one hash."""


@dataclass(frozen=True)
class Hashes:
    """The digests of one file, in lower-case hexadecimal."""

    sha256: str
    tensors: str
    """sha256 of the bytes after the header; it does not depend on the metadata."""
    legacy: str
    """sshs_legacy_hash."""
    autov1: str

    @property
    def autov2(self) -> str:
        """The first 10 digits of sha256."""
        return self.sha256[:10]

    @property
    def autov3(self) -> str:
        """The first 12 digits of the tensors' sha256."""
        return self.tensors[:12]


def hashes_of(file: Path, header: FileHeader, *, tensors: str = "") -> Hashes:
    """Every digest, reading the file once. `header` is the file's own; `tensors` their digest, where it is known."""
    file_digest, tensor_digest = sha256(), sha256()
    with file.open("rb") as opened:
        length = LENGTH_BYTES + int.from_bytes(opened.read(LENGTH_BYTES), "little")
        opened.seek(0)
        file_digest.update(opened.read(length))
        for chunk in chunks(opened):
            file_digest.update(chunk)
            if not tensors:
                tensor_digest.update(chunk)
        trained = {key: value for key, value in header.metadata.items() if key.startswith("ss_")}
        legacy = _legacy_hash(opened, length, header_bytes(header.tensors, trained))
        opened.seek(0)
        autov1 = _legacy_hash(opened, length, opened.read(length))
    return Hashes(file_digest.hexdigest(), tensors or tensor_digest.hexdigest(), legacy, autov1)


def chunks(opened: BinaryIO) -> Iterator[bytes]:
    """The rest of an open file, CHUNK_BYTES at a time."""
    while chunk := opened.read(CHUNK_BYTES):
        yield chunk


def _legacy_hash(opened: BinaryIO, length: int, header: bytes) -> str:
    """8 digits of the sha256 of 64 KiB after the first MiB, as if the tensors, which begin at byte `length`, came
    after this header."""
    window = header[WINDOW_START : WINDOW_START + WINDOW_BYTES]
    opened.seek(length + max(0, WINDOW_START - len(header)))
    return sha256(window + opened.read(WINDOW_BYTES - len(window))).hexdigest()[:8]


OF_THE_BYTES = (
    "format",
    "lora_adapter_metadata",
    "modelspec.hash_sha256",
    "ss_network_alpha",
    "ss_network_args",
    "ss_network_dim",
    "ss_network_module",
    "sshs_legacy_hash",
    "sshs_model_hash",
)
"""Keys that describe the tensors of the file they stand in, and would be wrong in another."""
SHARED = ("modelspec.architecture", "modelspec.implementation", "ss_base_model_version", "flux_lora.base")
"""Keys that a merged file takes from its first part, unless another part has another value."""
JOINED = ("modelspec.trigger_phrase", "modelspec.license")
"""Keys of which a merged file has the values of all its parts."""


def inherited_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """The metadata that stays true in another dialect, rank or dtype."""
    return {"format": "pt"} | {key: value for key, value in metadata.items() if key not in OF_THE_BYTES}


def merged_metadata(parts: Sequence[Mapping[str, str]], names: Sequence[str], title: str) -> dict[str, str]:
    """The metadata of a merged file: its parts, every trigger and every licence."""
    facts = {"format": "pt", "modelspec.sai_model_spec": "1.0.1", "modelspec.title": title}
    facts["modelspec.merged_from"] = ", ".join(
        part.get("modelspec.title") or name for part, name in zip(parts, names, strict=True)
    )
    facts |= {key: parts[0][key] for key in SHARED if key in parts[0] and len(_distinct_values(key, parts)) == 1}
    facts |= {key: ", ".join(_distinct_values(key, parts)) for key in JOINED}
    non_commercial = any(part.get("flux_lora.non_commercial") == "true" for part in parts)
    facts["flux_lora.non_commercial"] = "true" if non_commercial else ""
    return {key: value for key, value in facts.items() if value}


def _distinct_values(key: str, parts: Iterable[Mapping[str, str]]) -> list[str]:
    return list(dict.fromkeys(part[key] for part in parts if part.get(key)))


KOHYA = "lora_unet_"
DOWN = (".lora_A.weight", ".lora_down.weight")
DYNAMIC = "Dynamic"
"""sd-scripts' value for a rank or alpha that differs among the layers."""
MOST_FACTS = 512 * 1024
"""Most bytes of metadata. Some programs read the header of every file they list."""


def add_metadata(file: Path, facts: Mapping[str, str]) -> Hashes:
    """Add facts to a file's metadata, with its rank, alpha and hashes; returns its hashes afterwards.

    The file is replaced whole. ss_network_dim and ss_network_alpha are read from its tensors and overrule `facts`:
    where q, k and v were fused they are not those of the training.
    """
    header = read_header(file)
    merged = {**header.metadata, **facts, **_network_facts(file, header)}
    metadata = {key: value for key, value in merged.items() if value}
    hashes = hashes_of(file, FileHeader(header.tensors, metadata, header.bytes))
    metadata |= {
        "modelspec.hash_sha256": f"0x{hashes.tensors}",
        "sshs_model_hash": hashes.tensors,
        "sshs_legacy_hash": hashes.legacy,
    }
    size = sum(len(json.dumps(pair)) for pair in metadata.items())
    if size > MOST_FACTS:
        longest = max(metadata, key=lambda key: len(metadata[key]))
        raise AdapterFileError(
            f"{file} would say {size} bytes of itself, most of them {longest!r}, and {MOST_FACTS} are the limit",
            fix=f"shorten {longest}; a thumbnail of 256 pixels is enough",
        )
    with file.open("rb") as before, replacing(file) as after:
        before.seek(LENGTH_BYTES + int.from_bytes(before.read(LENGTH_BYTES), "little"))
        after.write(header_bytes(header.tensors, metadata))
        after.writelines(chunks(before))
    return hashes_of(file, read_header(file), tensors=hashes.tensors)  # only the header was rewritten


def _network_facts(file: Path, header: FileHeader) -> dict[str, str]:
    """sd-scripts' ss_network_* keys, from the file's tensors."""
    ranks = {str(entry.shape[0]) for key, entry in header.tensors.items() if key.endswith(DOWN) and entry.shape}
    alpha_keys = [key for key in header.tensors if key.endswith(".alpha")]
    with safe_open(file, "pt") as opened:
        alphas = {f"{opened.get_tensor(key).item():g}" for key in alpha_keys} or ranks
    facts = {"ss_network_dim": _one_or_dynamic(ranks), "ss_network_alpha": _one_or_dynamic(alphas)}
    if any(key.startswith(KOHYA) for key in header.tensors):
        facts["ss_network_module"] = "networks.lora_flux"
    return facts


def _one_or_dynamic(values: set[str]) -> str:
    return DYNAMIC if len(values) > 1 else next(iter(values), "")
