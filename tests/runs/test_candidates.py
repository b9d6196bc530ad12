"""How long an evaluation takes is said by what was rendered, and not by what was read."""

from pathlib import Path

from flux_lora.config.compose import compose_config
from flux_lora.runs.candidates import Drawer, budget_in_words
from flux_lora.runs.evaluation import evaluation_spec
from flux_lora.runs.preflight import preflight
from flux_lora.runs.run import Run
from tests.test_path import photos, settings

__all__ = ["photos"]


def test_where_the_bases_images_are_kept_no_time_is_announced(tiny_flux: Path, photos: Path, tmp_path: Path):
    """Reading them once announced a minute for an hour."""
    run = Run(compose_config(settings(tiny_flux, photos, tmp_path / "run")))
    spec = evaluation_spec(run.config, preflight(run))
    first = Drawer(run, spec)
    images = first.base()
    assert first.seconds_per_image > 0 and budget_in_words(run, first, 3).endswith(" min")
    again = Drawer(run, spec, first.pipeline)
    assert [image.tobytes() for image in again.base()] == [image.tobytes() for image in images]
    assert budget_in_words(run, again, 3).endswith(" images")
    one = next(file for file in sorted((tmp_path / "run" / "evaluation" / "base").glob("*.png")))
    one.unlink()
    third = Drawer(run, spec, first.pipeline)
    third.base()
    assert third.seconds_per_image > 0
