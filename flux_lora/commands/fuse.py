"""fuse: a base with a LoRA inside its weights, written one tensor at a time."""

import json
from pathlib import Path

from flux_lora.adapter.files import read_adapter
from flux_lora.adapter.fuse import fuse_into_base as fused
from flux_lora.adapter.write_proven import disk_explained
from flux_lora.commands.terminal import plain_console
from flux_lora.config.file_verbs import FuseArgs


def fuse(ask: FuseArgs) -> int:
    """Write the fused model, and say how much of the LoRA the base's dtype rounded away."""
    terminal = plain_console()
    told = {"flux_lora.fused": json.dumps({"file": Path(ask.file).name, "strength": ask.strength})}
    with terminal.status("writing"), disk_explained(Path(ask.out)):
        made = fused(Path(ask.base), read_adapter(Path(ask.file)), Path(ask.out), strength=ask.strength, metadata=told)
    terminal.print(f"{ask.out}: {ask.base} + {ask.strength:g} x {ask.file}, {made.bytes / 1e6:.1f} MB")
    terminal.print(f"{made.modules} weights changed, {made.largest_module} most of all, by {made.largest:.2%}")
    terminal.print(f"rounding to the base's numbers took {max(0.0, made.lost):.1%} of the effect")
    return 0
