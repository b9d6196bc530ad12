"""What is shared, as plain values: whoever exports fills them in, and everything beside the file is made of them."""

from dataclasses import dataclass, replace
from pathlib import Path

from flux_lora.render.spec import RenderSpec
from flux_lora.share.bases import BaseModel


@dataclass(frozen=True)
class Measure:
    """A share, and between what it lies with 95 % confidence."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What the evaluator found for the checkpoint in the file; see evaluate.scores."""

    likeness: Measure
    adherence: Measure
    leakage: Measure
    scorer: str
    """The CLIP that looked at the pictures."""
    prompts: int
    """How many prompts were rendered, of all kinds."""
    seeds: int
    held_out: int
    """Photos that training never saw."""
    doubts: tuple[str, ...] = ()
    """Where the numbers stand on little."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """How the adapter came to be."""

    photos: int
    steps: int
    batch_size: int
    learning_rate: float
    resolution: int
    rank: int
    alpha: float
    targets: str
    """Which layers, by the name that the recipe gives them."""


@dataclass(frozen=True)
class SharedImage:
    """A picture that the file draws, and its prompt."""

    prompt: str
    file: Path


@dataclass(frozen=True)
class Variant:
    """The same adapter in the names of other programs."""

    file: str
    readers: str
    """Which programs take it, as a person says it."""


@dataclass(frozen=True, kw_only=True)
class SharedModel:
    """Everything that can be told about an exported file."""

    title: str
    file: str
    """Name of the .safetensors file that the folder holds."""
    variants: tuple[Variant, ...] = ()
    trigger: str
    class_word: str
    base: BaseModel
    spec: RenderSpec
    """Its first prompt with its first seed is the example."""
    strength: float = 1.0
    training: Training
    scores: Scores | None = None
    pictures: tuple[SharedImage, ...] = ()
    remarks: tuple[str, ...] = ()
    """Further limits, one sentence each, such as what a quantised base rounds away."""
    author: str = ""
    repo: str = ""
    """Where it is shared on the hub, as org/name."""
    version: str
    """Of this package."""


def example_of(spec: RenderSpec) -> RenderSpec:
    """The one picture that the workflow and the snippet make: first prompt, first seed.

    Rendered in a batch of others it may differ in its last bits, so the picture to show is rendered alone.
    """
    return replace(spec, prompts=spec.prompts[:1], seeds=spec.seeds[:1])
