"""Previews: a few images, drawn now and again with the same noise, so that two differ by what was learned."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image
from torch import Tensor

from flux_lora.models.family import Pipeline, PromptEmbeds
from flux_lora.render.pipeline import images_at_once, render
from flux_lora.render.spec import RenderSpec
from flux_lora.runs.dataset import planned_held_out
from flux_lora.runs.edits import PREVIEWED, asked_edits
from flux_lora.runs.encoding import PreparedRun, preview_prompts
from flux_lora.runs.run import Run, spec_of


@dataclass(frozen=True)
class Preview:
    """Images that are drawn together."""

    names: tuple[str, ...]
    """What a tracker calls each."""
    spec: RenderSpec
    prompt_embeds: Sequence[PromptEmbeds]
    references: tuple[Tensor, ...] = ()

    def drawn(self, pipeline: Pipeline) -> list[Image.Image]:
        """One for each name."""
        return render(pipeline, self.prompt_embeds, self.spec, references=self.references)

    def tried(self, pipeline: Pipeline) -> None:
        """As many as share a pass of the model, in one step each; they are thrown away."""
        numbers = range(min(len(self.names), images_at_once(self.spec.width, self.spec.height)))
        render(pipeline, self.prompt_embeds, replace(self.spec, steps=1), numbers, references=self.references)


def previews_of(run: Run, prepared: PreparedRun) -> list[Preview]:
    """The recipe's prompts, or those that the adapter is judged by; of an edit the first held-out pairs, or
    trained ones, at their own sizes."""
    wanted = run.config.preview
    if not run.config.data.edits:
        prompts = preview_prompts(run, prepared.dataset)
        spec = spec_of(run.config, prompts, (wanted.seed,), steps=wanted.steps, side=wanted.size)
        return [Preview(prompts, spec, run.encode_prompts(prompts))]
    held_out = planned_held_out(run, prepared.dataset), prepared.held_out
    pairs, encoded = held_out if held_out[0] else (prepared.dataset.planned.prepared, prepared.encoded)
    asked = asked_edits(run, pairs[:PREVIEWED], encoded[:PREVIEWED], (wanted.seed,))
    return [
        Preview(
            (f"{each.prepared.sample.image.stem}: {each.spec.prompts[0]}",),
            replace(each.spec, steps=wanted.steps),
            [each.prompt_embeds],
            each.references,
        )
        for each in asked
    ]
