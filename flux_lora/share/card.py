"""The model card: README.md in the hub's format, with the facts of a Shared in its front matter and its text.

Titles, triggers and prompts are other people's text: nothing in them becomes markup.
"""

import re

from huggingface_hub import ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined

from flux_lora.share.bases import OWN_TERMS
from flux_lora.share.product import SharedModel
from flux_lora.share.snippets import diffusers_snippet

MARKER = "<!-- flux_lora writes this file anew with each export; remove this line and it stays as you left it. -->"
PICTURES = "pictures"
TAGS = ("text-to-image", "flux", "lora", "diffusers", "template:sd-lora")
MARKUP = re.compile(r"([\\`*_{}\[\]()#+!|~$])")


def card_of(product: SharedModel) -> str:
    """The whole text of the card."""
    environment = Environment(  # noqa: S701 (markdown; the filters take the markup out)
        loader=PackageLoader("flux_lora.share"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(plain=plain, quoted=quoted, fenced=fenced, percent=percent_in_card)
    prompt = product.spec.prompts[0]
    base = product.base.known_to_others if product.repo else product.base.place
    file = f"{product.repo}/{product.file}" if product.repo else product.file
    return (
        environment.get_template("card.md.j2")
        .render(
            product=product,
            front_matter=front_matter(product),
            marker=MARKER,
            prompt=prompt,
            snippet=diffusers_snippet(base, file, prompt, product.spec, strength=product.strength),
        )
        .strip()
        + "\n"
    )


def front_matter(product: SharedModel) -> str:
    """What the hub itself reads, as YAML."""
    base = product.base
    told = ModelCardData(
        base_model=base.hub or None,
        library_name="diffusers",
        license=base.licence_id or None,
        license_name=base.licence if base.licence_id == OWN_TERMS else None,
        license_link=(base.licence_link or None) if base.licence_id == OWN_TERMS else None,
        pipeline_tag="text-to-image",
        tags=list(TAGS),
        instance_prompt=product.trigger,
        widget=[
            {"text": picture.prompt, "output": {"url": picture_name(number)}}
            for number, picture in enumerate(product.pictures)
        ],
        base_model_relation="adapter" if base.hub else None,
    )
    return told.to_yaml().strip()


def picture_name(number: int) -> str:
    """Where a picture of the card lies in its folder."""
    return f"{PICTURES}/{number:02d}.png"


def plain(text: str) -> str:
    """Words that markdown and HTML leave alone, on one line."""
    escaped = MARKUP.sub(r"\\\1", " ".join(text.split()))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def quoted(text: str) -> str:
    """Words as code, whatever stands in them."""
    line = " ".join(text.split())
    fence = "`" * (1 + _longest_run(line))
    return f"{fence} {line} {fence}" if "`" in line else f"`{line}`"


def fenced(text: str, language: str) -> str:
    """A block of code, whatever stands in it."""
    fence = "`" * max(3, 1 + _longest_run(text))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def percent_in_card(share: float) -> str:
    """0.863 -> 86 %."""
    return f"{round(100 * share)} %"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
