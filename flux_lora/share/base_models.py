"""Base models: hub id, file name in ComfyUI, parts in other programs, licence by the hub's list."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flux_lora.adapter.metadata import is_non_commercial
from flux_lora.models.family import ModelFamily
from flux_lora.models.hub import HUB_ID
from flux_lora.models.mini import MINI
from flux_lora.models.programs import Programs, Release

HUB = "https://huggingface.co"
OWN_TERMS = "other"
"""The hub's id for a licence that is not in its list; license_name and license_link go with it."""
LISTED = {"apache-2.0", "mit", "openrail", "creativeml-openrail-m", "cc-by-4.0", "cc-by-nc-4.0", "cc0-1.0"}
"""Ids of the hub's list of licences, as far as FLUX models use them."""


@dataclass(frozen=True, kw_only=True)
class BaseModel:
    """The model that the adapter was trained on, as other programs and people name it."""

    name: str
    hub: str = ""
    """Empty if it is not on the hub."""
    place: str
    """Where this machine has it: `mini`, a folder or a hub id."""
    comfy: str
    """File name in ComfyUI/models/diffusion_models."""
    own_transformer: str = ""
    """Name of the file that the transformer was taken from, if not from the base itself."""
    own_parts: tuple[str, ...] = ()
    """Names of the files that VAE and text encoders were taken from, if not from the base itself."""
    licence: str = ""
    licence_link: str = ""
    shifts_sigmas: bool
    """Whether the sigma shift grows with image size."""
    programs: Programs
    """Its family's parts in other programs."""

    @property
    def non_commercial(self) -> bool:
        """Whether its licence keeps the adapter from commercial use."""
        return is_non_commercial(self.licence)

    @property
    def in_comfyui(self) -> bool:
        """Whether ComfyUI has a loader for it: mini's CLIP and T5 are of sizes that it does not know."""
        return self.place != MINI

    @property
    def known_to_others(self) -> str:
        """The hub id, `mini` or the name: never the path of a folder on this machine."""
        return self.hub or (self.place if self.place == MINI else self.name)

    @property
    def licence_id(self) -> str:
        """The licence in the hub's list of ids."""
        return self.licence if self.licence in LISTED or not self.licence else OWN_TERMS


def released(release: Release, programs: Programs) -> BaseModel:
    """A published base, from the hub."""
    return BaseModel(
        name=release.name,
        hub=release.hub,
        place=release.hub,
        comfy=release.comfy,
        licence=release.licence,
        licence_link=release.licence_link,
        shifts_sigmas=release.shifts_sigmas,
        programs=programs,
    )


def base_model(name: str, path: str, licence: str, family: ModelFamily, transformer: str = "") -> BaseModel:
    """The base of a run: a release of the family by name or hub id; any other from name, path and licence.

    A transformer out of a file of its own is what ComfyUI loads, too; not a GGUF, for which it has no node of its own.
    """
    base = _base_model(name, path, licence, family)
    file = Path(transformer).name
    comfy = file if file.endswith(".safetensors") else base.comfy
    return replace(base, comfy=comfy, own_transformer=file) if file else base


def with_part_files(base: BaseModel, vae: str, text_encoders: Sequence[str]) -> BaseModel:
    """With VAE and text encoders out of files of their own, "" for those of the base: ComfyUI loads them too."""
    comfy = base.programs.comfy
    own_vae, own = Path(vae).name, [Path(file).name for file in text_encoders]
    named = tuple(file or usual for file, usual in zip(own, comfy.text_encoders, strict=False))
    programs = replace(base.programs, comfy=replace(comfy, vae=own_vae or comfy.vae, text_encoders=named))
    return replace(base, programs=programs, own_parts=tuple(file for file in (own_vae, *own) if file))


def _base_model(name: str, path: str, licence: str, family: ModelFamily) -> BaseModel:
    programs = family.programs
    for known in programs.releases:
        if known.name.lower() == name.lower() or known.hub == path:
            return replace(released(known, programs), place=path)
    on_hub = bool(HUB_ID.fullmatch(path)) and not Path(path).exists()
    return BaseModel(
        name=name,
        hub=path if on_hub else "",
        place=path,
        comfy=re.sub(r"[^\w.-]+", "-", name).strip("-.").lower() + ".safetensors",
        licence=licence,
        licence_link=f"{HUB}/{path}" if on_hub and licence else "",
        shifts_sigmas=family.release_like(name).shifts_sigmas,
        programs=programs,
    )
