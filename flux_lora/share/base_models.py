"""Base models: hub id, file name in ComfyUI, licence by the hub's list."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from flux_lora.adapter.metadata import is_non_commercial
from flux_lora.models.hub import HUB_ID
from flux_lora.models.mini import MINI

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
    licence: str = ""
    licence_link: str = ""
    shifts_sigmas: bool = True
    """Whether the sigma shift grows with image size: for FLUX.1-dev it does, for FLUX.1-schnell not."""

    @property
    def non_commercial(self) -> bool:
        """Whether its licence keeps the adapter from commercial use."""
        return is_non_commercial(self.licence)

    @property
    def known_to_others(self) -> str:
        """The hub id, `mini` or the name: never the path of a folder on this machine."""
        return self.hub or (self.place if self.place == MINI else self.name)

    @property
    def licence_id(self) -> str:
        """The licence in the hub's list of ids."""
        return self.licence if self.licence in LISTED or not self.licence else OWN_TERMS


DEV = BaseModel(
    name="FLUX.1-dev",
    hub="black-forest-labs/FLUX.1-dev",
    place="black-forest-labs/FLUX.1-dev",
    comfy="flux1-dev.safetensors",
    licence="flux-1-dev-non-commercial-license",
    licence_link=f"{HUB}/black-forest-labs/FLUX.1-dev/blob/main/LICENSE.md",
)
SCHNELL = BaseModel(
    name="FLUX.1-schnell",
    hub="black-forest-labs/FLUX.1-schnell",
    place="black-forest-labs/FLUX.1-schnell",
    comfy="flux1-schnell.safetensors",
    licence="apache-2.0",
    shifts_sigmas=False,
)


def base_model(name: str, path: str, licence: str) -> BaseModel:
    """The base of a run: DEV or SCHNELL by name or hub id; any other from name, path and licence."""
    for known in (DEV, SCHNELL):
        if known.name.lower() == name.lower() or known.hub == path:
            return replace(known, place=path)
    on_hub = bool(HUB_ID.fullmatch(path)) and not Path(path).exists()
    return BaseModel(
        name=name,
        hub=path if on_hub else "",
        place=path,
        comfy=re.sub(r"[^\w.-]+", "-", name).strip("-.").lower() + ".safetensors",
        licence=licence,
        licence_link=f"{HUB}/{path}" if on_hub and licence else "",
        shifts_sigmas="schnell" not in name.lower(),
    )
