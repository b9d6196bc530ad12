"""prepare: encode photos, captions and prompts into the cache, so that training needs no encoder."""

import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial

from flux_lora.commands.check import clear
from flux_lora.commands.crew import ProcessGroup, process_group
from flux_lora.commands.dataset_page import write_dataset_page
from flux_lora.commands.machine import DeviceAndDtype, device_and_dtype
from flux_lora.commands.manifest import fingerprint_of, refuse_other_pictures, write_manifest
from flux_lora.commands.material import RunDataset, outline_dataset, sizes_from_json, sizes_to_json
from flux_lora.commands.progress import bar
from flux_lora.commands.remember import ClassImage, class_images_of, class_prompts
from flux_lora.commands.run_folder import RunFolder, folder_of, open_folder
from flux_lora.commands.summary import note, stage
from flux_lora.config.schema import RunConfig
from flux_lora.data.cache import (
    EncodedDataset,
    EncodeOptions,
    Encoders,
    ProcessShare,
    StageProfile,
    encode_all,
    encode_captions,
    encode_share,
)
from flux_lora.data.encoders import flux1_encoders
from flux_lora.data.plain import without_trigger
from flux_lora.data.told import Progress, no_progress
from flux_lora.models.family import PromptEmbeds


@dataclass(frozen=True)
class PreparedRun:
    """All that training and rendering need of photos and words."""

    material: RunDataset
    encoded: EncodedDataset
    """One for each of material.planned.prepared, in that order."""
    empty: PromptEmbeds
    memories: tuple[ClassImage, ...]
    fingerprint: str
    """Changes with any pixel, crop or caption."""


def prepare(config: RunConfig) -> int:
    """Check, plan and encode; 1 if there are warnings and strict is set. Processes started together share the work."""
    with process_group() as crew:
        if not crew.alone:
            return _prepare_together(config, crew)
        material, code = clear(config)
        if code:
            return code
        folder = open_folder(config)
        with stage(folder, "prepare"):
            encode_dataset(config, folder, material, device_and_dtype(config.hardware))
        return 0


def _prepare_together(config: RunConfig, crew: ProcessGroup) -> int:
    """The first judges, and at the end finds everything encoded and writes it down; all take their part between."""
    material, code, folder = None, 0, folder_of(config)
    with crew.fail_together():
        if crew.first:
            material, code = clear(config)
            folder = folder if code else open_folder(config)
    code = crew.all_max(code)
    if code:
        return code
    sizes = sizes_from_json(crew.broadcast(sizes_to_json(material) if material else "{}"))
    with stage(folder, "prepare") if crew.first else nullcontext():
        machine = device_and_dtype(config.hardware)
        with crew.fail_together():
            stages = _encode_part(config, material or outline_dataset(config, sizes), machine, crew.share)
        if crew.first and material:
            encode_dataset(config, folder, material, machine)
            note(folder, {"encoding": [_in_numbers(each) for each in stages]})
    return 0


def _encode_part(
    config: RunConfig, material: RunDataset, machine: DeviceAndDtype, share: ProcessShare
) -> tuple[StageProfile, ...]:
    encoders = _encoders(config, machine)
    wanted, _ = _wanted(config, material, encoders)
    prepared = material.planned.prepared
    with _kept_when_stopped("encoding") if share.rank == 0 else nullcontext(no_progress) as told:
        return encode_share(prepared, encoders, folder_of(config).cache, share, wanted=wanted, progress=told)


def encode_dataset(config: RunConfig, folder: RunFolder, material: RunDataset, machine: DeviceAndDtype) -> PreparedRun:
    """Encode what the cache lacks. VAE and text encoders are out of memory when this returns."""
    planned = material.planned
    encoders = _encoders(config, machine)
    wanted, remembered = _wanted(config, material, encoders)
    if material.subject_boxes:
        material.subject_boxes.write(folder.cache)
    with _kept_when_stopped("encoding") as told:
        made = encode_all(planned.prepared, encoders, folder.cache, wanted=wanted, progress=told)
    fingerprint = fingerprint_of(planned, made.encoded.keys)
    refuse_other_pictures(folder, fingerprint)
    write_manifest(folder, planned, made, remembered, fingerprint)
    if config.check.page:
        write_dataset_page(config, material, folder.dataset_page)
    note(folder, {"encoding": [_in_numbers(each) for each in made.stages]})
    empty = encode_captions([""], encoders, folder.cache)[0]
    return PreparedRun(material, made.encoded, empty, remembered, fingerprint)


def encoded_prompts(
    config: RunConfig, folder: RunFolder, prompts: Sequence[str], machine: DeviceAndDtype
) -> list[PromptEmbeds]:
    """Prompts as the transformer hears them, each a batch of one; from the cache where they were prepared."""
    return encode_captions(prompts, _encoders(config, machine), folder.cache)


def preview_prompts(config: RunConfig, material: RunDataset) -> tuple[str, ...]:
    """What previews show: the recipe's prompts, or the first two that the adapter is judged by."""
    words = {"{trigger}": config.data.trigger, "{class}": config.data.class_word}
    chosen = []
    for prompt in config.preview.prompts:
        for placeholder, word in words.items():
            prompt = prompt.replace(placeholder, word)
        chosen.append(prompt)
    return tuple(chosen) or material.suite.trigger[:2]


def _wanted(
    config: RunConfig, material: RunDataset, encoders: Encoders
) -> tuple[EncodeOptions, tuple[ClassImage, ...]]:
    """What is made of each picture, and every word that a run will need: plain captions for preservation only."""
    prompts = ("", *material.suite.prompts, *preview_prompts(config, material))
    wanted = EncodeOptions(alpha=config.data.alpha, masks=config.data.masks, words=prompts)
    if not config.train.preservation:
        return wanted, ()
    plain = partial(without_trigger, trigger=config.data.trigger, class_word=config.data.class_word)
    plains = [plain(caption) for one in material.planned.prepared for caption in one.sample.captions]
    remembered = class_images_of(config, class_prompts(plains, material.suite.kept), encoders.caption_fingerprint)
    return replace(wanted, plain=plain, words=(*prompts, *(each.prompt for each in remembered))), remembered


@contextmanager
def _kept_when_stopped(doing: str) -> Iterator[Progress]:
    """A bar; whoever stops it hears how far it was, and that the next run goes on from there."""
    heard = deque(["nothing was missing yet"], maxlen=1)
    with bar(doing) as shown:

        def told(done: int, total: int, name: str) -> None:
            heard.append(f"{done} of {total} are done and kept, the last is {name}")
            shown(done, total, name)

        try:
            yield told
        except KeyboardInterrupt:
            print(f"{doing} was stopped: {heard[0]}", file=sys.stderr)
            raise


def _encoders(config: RunConfig, machine: DeviceAndDtype) -> Encoders:
    return flux1_encoders(
        config.model.path,
        tokens=config.model.text_tokens,
        device=machine.device,
        text_dtype=machine.dtype,
        revision=config.model.revision,
    )


def _in_numbers(made: StageProfile) -> dict[str, object]:
    seconds, gib = round(made.seconds, 2), 2**30
    return {
        "stage": made.name,
        "seconds": seconds,
        "peak_gib": round(made.peak_bytes / gib, 2),
        "gpu_peak_gib": round(made.gpu_bytes / gib, 2),
    }
