"""plan: what a run will take, by stage, and the fastest way that fits; no GPU and no weights are needed."""

from collections.abc import Sequence

from rich.table import Table

from flux_lora.adapter.dialects.module_names import layer_place
from flux_lora.commands.terminal import plain_console
from flux_lora.config.schema import RunConfig
from flux_lora.runs.auto_hardware import card_gib, fastest, in_words, planner_of, possible_ways
from flux_lora.runs.plan import CARDS, GIB, REACHED, Plan, TrainedLayer


def plan(config: RunConfig) -> int:
    """Print every way with its memory, and for one card the stages, the time and the settings."""
    planner, card, terminal = planner_of(config), card_gib(config.hardware), plain_console()
    side = config.data.resolution
    terminal.print(f"{config.model.name}, {side} x {side}, {config.adapter.kind.value}, {config.adapter.targets.value}")
    terminal.print(_trained(planner.layers))
    terminal.print(_ways([planner.plan(way) for way in possible_ways(planner)], card))
    if not card:
        terminal.print("hardware.gpu_gb=<GB> plans for one card: its stages, time and settings")
        return 0
    chosen = fastest(planner, card)
    terminal.print(f"\n{card:.0f} GB: {in_words(chosen, card)}")
    terminal.print(_stages(chosen))
    terminal.print(*_times(chosen, config, card), sep="\n")
    terminal.print("hardware=auto takes this way; by hand: " + " ".join(chosen.way.overrides))
    return 0


def _trained(layers: Sequence[TrainedLayer]) -> Table:
    """A row for each part of the model and rank."""
    rows: dict[tuple[str, int], list[TrainedLayer]] = {}
    for layer in layers:
        rows.setdefault((layer_place(layer.name), layer.rank), []).append(layer)
    table = Table("trained", "layers", "rank", "parameters", box=None)
    for (place, rank), found in rows.items():
        table.add_row(place, str(len(found)), str(rank), f"{sum(each.numbers for each in found):,}")
    table.add_row("all", str(len(layers)), "", f"{sum(each.numbers for each in layers):,}")
    return table


def _ways(plans: list[Plan], card: float) -> Table:
    table = Table("the fastest first", "GB", "mostly to", "TFLOP a step", *(["fits"] if card else []), box=None)
    for each in plans:
        fits = ["yes" if each.fits(card) else "no"] if card else []
        table.add_row(str(each.way), f"{each.peak.bytes / GIB:.1f}", each.peak.name, f"{each.flops / 1e12:.0f}", *fits)
    return table


def _stages(chosen: Plan) -> Table:
    """A row a stage, a column for what is in memory."""
    names = list(dict.fromkeys(part for stage in chosen.stages for part in stage.parts))
    table = Table("GB to", *names, "all", box=None)
    for stage in chosen.stages:
        cells = (f"{stage.parts[name] / GIB:.2f}" if name in stage.parts else "" for name in names)
        table.add_row(stage.name, *cells, f"{stage.bytes / GIB:.2f}")
    return table


def _times(chosen: Plan, config: RunConfig, card: float) -> list[str]:
    """Seconds a step on the cards of this size."""
    lines = []
    for name, (gib, tflops) in CARDS.items():
        if gib == card:
            seconds = chosen.seconds_per_step(tflops)
            hours = seconds * config.train.steps / 3600
            lines.append(
                f"{name}: about {seconds:.1f} s a step, {hours:.1f} h for {config.train.steps} steps "
                f"(at {REACHED:.0%} of its {tflops:.0f} TFLOP/s; at all of it {seconds * REACHED:.1f} s)"
            )
    return lines
