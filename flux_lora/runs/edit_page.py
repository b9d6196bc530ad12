"""Gather what the run of an edit left behind into its page."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from flux_lora.evaluate.choice import score_of
from flux_lora.evaluate.edit_report import EditReport, ShownEdit, write_edit_report
from flux_lora.runs.candidates import BASE, candidate_name, limits_of
from flux_lora.runs.dataset import RunDataset
from flux_lora.runs.edits import EditDrawer, edited_images, held_out_edits
from flux_lora.runs.evaluation import Evaluation
from flux_lora.runs.exporting import Exported
from flux_lora.runs.report_parts import (
    curve_of,
    dataset_of,
    exported_file,
    file_checks,
    frames_of,
    held_out_loss_of,
    readers_of,
    stages_of,
)
from flux_lora.runs.run import Run
from flux_lora.runs.sharing import base_of
from flux_lora.share.card import DIFFUSERS, read_by_comfyui
from flux_lora.share.snippets import comfy_hint, diffusers_snippet


def write_edit_page(
    run: Run, dataset: RunDataset, evaluation: Evaluation, exported: Exported | None, place: Path
) -> Path:
    """Write the page to this place."""
    folder, spec, base = run.folder, evaluation.record.spec, base_of(run)
    readers = readers_of(exported) if exported else frozenset[str]()
    program = str(exported.file) if exported else ""
    report = EditReport(
        title=run.config.data.trigger or spec.prompts[0],
        base=run.config.model.name,
        when=f"{datetime.now():%d %B %Y, %H:%M}",
        stages=stages_of(folder),
        dataset=dataset_of(run.config, dataset, folder),
        shown=tuple(_shown(run, dataset, evaluation)),
        scores=evaluation.scores,
        limits=limits_of(run.config),
        without_training=evaluation.record.without_training,
        doubts=evaluation.record.doubts,
        choice=evaluation.choice,
        curve=curve_of(folder),
        frames=tuple(frames_of(folder)),
        frames_prompt=spec.prompts[0],
        held_out_loss=held_out_loss_of(folder),
        file=exported_file(exported) if exported else None,
        checks=file_checks(exported) if exported else (),
        recipe=folder.recipe.read_text(encoding="utf-8"),
        snippet=diffusers_snippet(base, program, spec.prompts[0], spec) if DIFFUSERS in readers else "",
        comfy=comfy_hint(base, Path(program).name, spec) if exported and read_by_comfyui(base, readers) else "",
    )
    return write_edit_report(report, place)


def _shown(run: Run, dataset: RunDataset, evaluation: Evaluation) -> Iterator[ShownEdit]:
    """Every pair that was judged."""
    asked, chosen = held_out_edits(run, dataset), score_of(evaluation.choice, evaluation.scores)
    drawer = EditDrawer(run, asked, run.load_pipeline())
    name = candidate_name(evaluation.choice.step, evaluation.choice.strength)
    drawn = zip(asked, edited_images(run.folder, BASE, asked), edited_images(run.folder, name, asked), strict=True)
    for number, (each, base, lora) in enumerate(drawn):
        pair = drawer.pair(each)
        yield ShownEdit(
            prompt=each.spec.prompts[0],
            before=pair.before,
            base=base,
            lora=lora,
            after=pair.after,
            edited=chosen["edited"].each[number][0],
            untouched=chosen["untouched"].each[number][0],
        )
