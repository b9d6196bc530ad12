"""The model card: README.md in the hub's format, from a SharedModel.

Titles, triggers and prompts are other people's text: nothing in them becomes markup.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from huggingface_hub import ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined

from flux_lora.render.spec import RenderSpec
from flux_lora.share.base_models import OWN_TERMS, BaseModel
from flux_lora.share.snippets import diffusers_snippet


@dataclass(frozen=True)
class Measure:
    """A score of evaluate.scores: its row of the card's table. value, low and high are shares."""

    title: str
    value: float
    low: float
    """Low and high end of the 95 % interval."""
    high: float
    zero: str
    """What 0 % means."""
    full: str
    """What 100 % means."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The scores of the checkpoint in the file, and how they were measured."""

    measures: tuple[Measure, ...]
    scorer: str
    """Folder or hub id of the CLIP model."""
    prompts: int
    """How many prompts were rendered, of all kinds."""
    seeds: int
    held_out: int
    """Photos that training never saw."""
    doubts: tuple[str, ...] = ()
    """Warnings where a score is unreliable."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """Training settings, for the card."""

    photos: int
    steps: int
    batch_size: int
    """Images of a step."""
    learning_rate: float
    resolutions: tuple[int, ...]
    rank: int
    alpha: float
    targets: str
    """adapter.targets of the recipe."""


@dataclass(frozen=True)
class SharedImage:
    """An image rendered with the file, and its prompt."""

    prompt: str
    file: Path


@dataclass(frozen=True)
class Variant:
    """The same adapter in another dialect."""

    file: str
    readers: str
    """Programs that load it, as words."""


DIFFUSERS, COMFYUI = "diffusers", "ComfyUI"
"""Programs for which something lies beside a file, as proofs call them."""


def read_by_comfyui(base: BaseModel, readers: Collection[str]) -> bool:
    """By what a file was proven for, or may be, where ComfyUI could not be tried with its base."""
    return COMFYUI in readers or bool(base.programs.comfy.untried)


@dataclass(frozen=True, kw_only=True)
class SharedModel:
    """An exported file and all that its card, workflow and snippet mention."""

    title: str
    file: str
    """Name of the .safetensors file that the folder holds."""
    readers: tuple[str, ...] = (DIFFUSERS, COMFYUI)
    """Programs that it was proven for."""
    variants: tuple[Variant, ...] = ()
    trigger: str
    class_word: str
    base: BaseModel
    spec: RenderSpec
    """Its first prompt with its first seed is the example."""
    strength: float = 1.0
    training: Training
    scores: Scores | None = None
    images: tuple[SharedImage, ...] = ()
    before: Path | None = None
    """Of an edit: the image that the example is made from."""
    remarks: tuple[str, ...] = ()
    """Further limits, one sentence each, such as what a quantised base rounds away."""
    author: str = ""
    repo: str = ""
    """Its repository on the hub, as org/name."""
    version: str
    """Of this package."""

    @property
    def edits(self) -> bool:
        """Whether it edits an image that it is shown."""
        return bool(self.spec.made_from)

    @property
    def for_comfyui(self) -> bool:
        """Whether ComfyUI reads the file, or may: where it could not be tried, the card says so."""
        return read_by_comfyui(self.base, self.readers)

    @property
    def base_for_readers(self) -> BaseModel:
        """The base as whoever has these files opens it: from the hub where they go there, else from this machine."""
        return replace(self.base, place=self.base.known_to_others) if self.repo else self.base


def example_of(spec: RenderSpec) -> RenderSpec:
    """The one image that the workflow and the snippet render: first prompt, first seed.

    In a batch of others its last bits may differ, so the image in the card is rendered alone.
    """
    return replace(spec, prompts=spec.prompts[:1], seeds=spec.seeds[:1])


MARKER = "<!-- flux_lora writes this file anew with each export; remove this line and it stays as you left it. -->"
IMAGES = "pictures"
TAGS = ("text-to-image", "flux", "lora", "diffusers", "template:sd-lora")
MARKUP = re.compile(r"([\\`*_{}\[\]()#+!|~$])")


def card_of(product: SharedModel) -> str:
    """The text of the card."""
    environment = Environment(  # noqa: S701 (markdown; the filters take the markup out)
        loader=PackageLoader("flux_lora.share"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(plain=plain, as_code=as_code, fenced=fenced, percent=percent_in_card)
    prompt = product.spec.prompts[0]
    file = f"{product.repo}/{product.file}" if product.repo else product.file
    return (
        environment.get_template("card.md.j2")
        .render(
            product=product,
            front_matter=front_matter(product),
            marker=MARKER,
            prompt=prompt,
            main_readers=", ".join(_main_readers(product)),
            snippet=diffusers_snippet(product.base_for_readers, file, prompt, product.spec, strength=product.strength),
        )
        .strip()
        + "\n"
    )


def _main_readers(product: SharedModel) -> Iterator[str]:
    """Of the first file; not ComfyUI where it was not tried, or cannot open the base."""
    tried = product.base.in_comfyui and not product.base.programs.comfy.untried
    yield from (reader for reader in product.readers if reader in (DIFFUSERS, *([COMFYUI] if tried else [])))


def front_matter(product: SharedModel) -> str:
    """The card's metadata, as YAML."""
    base = product.base
    metadata = ModelCardData(
        base_model=base.hub or None,
        library_name="diffusers",
        license=base.licence_id or None,
        license_name=base.licence if base.licence_id == OWN_TERMS else None,
        license_link=(base.licence_link or None) if base.licence_id == OWN_TERMS else None,
        pipeline_tag="image-to-image" if product.edits else TAGS[0],
        tags=["image-to-image" if tag == TAGS[0] and product.edits else tag for tag in TAGS],
        instance_prompt=product.trigger or product.spec.prompts[0],
        widget=[
            {"text": image.prompt, "output": {"url": image_name(number)}} for number, image in enumerate(product.images)
        ],
        base_model_relation="adapter" if base.hub else None,
    )
    return metadata.to_yaml().strip()


def image_name(number: int) -> str:
    """Path of an image of the card, from the card's folder."""
    return f"{IMAGES}/{number:02d}.png"


def plain(text: str) -> str:
    """Text with markdown and HTML escaped, on one line."""
    escaped = MARKUP.sub(r"\\\1", " ".join(text.split()))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def as_code(text: str) -> str:
    """Inline code, whatever the text contains."""
    line = " ".join(text.split())
    fence = "`" * (1 + _longest_run(line))
    return f"{fence} {line} {fence}" if "`" in line else f"`{line}`"


def fenced(text: str, language: str) -> str:
    """A code block, whatever the text contains."""
    fence = "`" * max(3, 1 + _longest_run(text))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def percent_in_card(share: float) -> str:
    """0.863 -> 86 %."""
    return f"{round(100 * share)} %"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
