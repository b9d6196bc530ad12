"""render: images of prompts and seeds with a base, and a LoRA of any tool in it; each PNG says how it was made."""

import math
from dataclasses import replace
from functools import partial
from pathlib import Path

from flux_lora.adapter.attach import load_into, set_strength
from flux_lora.adapter.files import read_contents, weights_digest
from flux_lora.commands.lora_files import introduce
from flux_lora.commands.terminal import Terminal, plain_console
from flux_lora.config.compose import compose_config
from flux_lora.config.file_verbs import RenderArgs
from flux_lora.config.schema import RunConfig
from flux_lora.errors import ConfigError
from flux_lora.render.kept import render_kept
from flux_lora.render.pipeline import render as draw
from flux_lora.render.sheets import contact_sheet
from flux_lora.render.spec import RenderSpec
from flux_lora.runs.auto_hardware import settled_to_render
from flux_lora.runs.run import Run

SHEET = "sheet.png"


def render(ask: RenderArgs) -> int:
    """Write the images and a sheet, a row a prompt, into a new folder."""
    terminal, out, planned = plain_console(), Path(ask.out), _config(ask)
    _check(ask, out, Run(planned))
    given = read_contents(Path(ask.adapter)) if ask.adapter else None
    run = Run(settled_to_render(planned, Terminal(), given.adapter if given else None), Terminal())
    spec = RenderSpec(
        prompts=ask.prompts,
        seeds=ask.seeds,
        width=ask.width,
        height=ask.height,
        text_tokens=run.source.max_sequence_length,
        steps=ask.steps,
        guidance=run.config.model.render_guidance,
    )
    weights = run.weights()
    if given:
        introduce(ask.adapter, given, terminal)
        weights = run.weights(weights_digest(Path(ask.adapter)), ask.strength)
    encode = run.encoders.open_caption_encoder()
    embeds = [encode(prompt) for prompt in ask.prompts]
    del encode
    pipeline = run.load_pipeline()
    if given:
        load_into(pipeline.transformer, given.adapter)
        set_strength(pipeline.transformer, ask.strength)
    with run.feedback.status(f"rendering {len(spec.shots())} images"):
        images = render_kept(partial(draw, pipeline, embeds, spec), spec, weights, out)
    rows = [images[first : first + len(ask.seeds)] for first in range(0, len(images), len(ask.seeds))]
    contact_sheet(rows, ask.prompts, [f"seed {seed}" for seed in ask.seeds], tile=256).save(out / SHEET)
    terminal.print(f"{len(images)} images and {SHEET} in {out.resolve()}")
    return 0


def _config(ask: RenderArgs) -> RunConfig:
    """The base as recipes/model has it, or at another path; its resolution is a square of as many pixels."""
    places = {
        "path": ask.path,
        "transformer": ask.transformer,
        "vae": ask.vae,
        "text_encoder": ask.text_encoder,
        "text_encoder_2": ask.text_encoder_2,
    }
    words = [f"model.{key}={place}" for key, place in places.items() if place]
    config = compose_config(["recipe=photos", f"model={ask.model}", "data.folder=.", *words])
    side = 16 * math.ceil(math.sqrt(max(0, ask.width * ask.height)) / 16)
    sized = replace(config, data=replace(config.data, resolution=side), preview=replace(config.preview, size=side))
    return replace(sized, hardware=ask.hardware)


def _check(ask: RenderArgs, out: Path, run: Run) -> None:
    if out.exists():
        raise ConfigError(f"{out} is there already", fix="name a new folder; nothing is written over")
    if not ask.prompts or not ask.seeds:
        raise ConfigError("there is no prompt or no seed", fix="set prompts='[a red mug]' and seeds=[0]")
    step = run.family.pixels_per_token
    for name, side in (("width", ask.width), ("height", ask.height)):
        if side < step or side % step:
            raise ConfigError(
                f"{name} is {side}, not a multiple of {step}", fix=f"set {name}={max(1, side // step) * step}"
            )
    if ask.steps < 1:
        raise ConfigError(f"steps is {ask.steps}", fix="set steps=20")
