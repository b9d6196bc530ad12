"""caption: have a vision-language model describe the images that nobody has described yet."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from flux_lora.config.data import CaptionerConfig, DataConfig
from flux_lora.config.schema import RunConfig
from flux_lora.data.captioning.captioner import (
    CaptionTemplate,
    Proposal,
    as_diff,
    is_shorter,
    lacks_caption,
    propose,
    propose_longer,
    write,
)
from flux_lora.data.captioning.vision_model import open_describer
from flux_lora.data.samples import Sample
from flux_lora.data.sources.find import find
from flux_lora.models.device import placement_of
from flux_lora.runs.dataset import source_options, sources_of

COLOURS = {"-": "red", "+": "green"}


def caption(config: RunConfig) -> int:
    """Show a caption for each image that has none, and write it if captioner.write is set."""
    wanted = config.captioner
    phrase = CaptionTemplate(wanted.template, config.data.trigger, config.data.class_word)
    samples = _to_describe(config.data, wanted)
    terminal = Console(stderr=True, soft_wrap=True, highlight=False)
    if not samples:
        nothing = f"no caption has fewer than {wanted.expand} words" if wanted.expand else "every image has a caption"
        terminal.print(f"{nothing}; captioner.overwrite=true makes new ones", markup=False)
        return 0
    describe = open_describer(
        wanted.model,
        wanted.revision,
        prompt=wanted.prompt,
        max_tokens=wanted.max_tokens,
        device=str(placement_of(config.hardware).device),
    )
    made = 0
    proposals = (
        propose_longer(samples, describe, least_words=wanted.expand)
        if wanted.expand
        else propose(samples, describe, phrase, overwrite=wanted.overwrite)
    )
    for number, proposal in enumerate(proposals, start=1):
        terminal.print(_shown(proposal, f"{number} of {len(samples)}"))
        made += bool(proposal.after)
        if wanted.write:
            write(proposal, overwrite=wanted.overwrite)
    terminal.print(_summary(made, len(samples), written=wanted.write), markup=False)
    return 0


def _to_describe(folders: DataConfig, wanted: CaptionerConfig) -> Sequence[Sample]:
    found = find(sources_of(folders), source_options(folders)).samples
    if wanted.expand:
        return [sample for sample in found if is_shorter(sample, wanted.expand)]
    return [sample for sample in found if wanted.overwrite or lacks_caption(sample)]


def _shown(proposal: Proposal, place: str) -> Text:
    if not proposal.after:
        return Text(f"{place}: {proposal.image} {proposal.why_not}")
    lines = [Text(line, style=COLOURS.get(line[:1], "")) for line in as_diff(proposal).splitlines()]
    return Text("\n").join([Text(f"{place}: {proposal.image}"), *lines])


def _summary(made: int, asked: int, *, written: bool) -> str:
    if written:
        return f"{made} of {asked} captions written; read them, then: flux-lora check"
    return f"{made} of {asked} captions made, none written; captioner.write=true writes them"
