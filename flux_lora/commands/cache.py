"""cache: say what the cache holds and whether it is sound, and take away what no run needs any more."""

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flux_lora.commands.terminal import bar
from flux_lora.config.knobs import nearest
from flux_lora.data.cache.maintenance import damages, holdings, named_in, prune
from flux_lora.errors import ConfigError

DAMAGED = 2
MANIFESTS = "*/dataset/manifest.jsonl"


def cache(action: str, folder: Path) -> int:
    """status, verify or prune the cache in `folder`; 2 if something in it is damaged."""
    actions = {"status": _status, "verify": _verify, "prune": _prune}
    if action not in actions:
        near = nearest(action, tuple(actions))
        raise ConfigError(
            f"cache cannot {action!r}",
            fix=f"did you mean {near!r}?" if near else f"write flux-lora cache {' or '.join(actions)}",
        )
    return actions[action](folder, Console(highlight=False, soft_wrap=True))


def _status(folder: Path, terminal: Console) -> int:
    table = Table("kind", "files", "MB", box=None, pad_edge=False)
    for each in holdings(folder):
        table.add_row(each.kind, f"{each.files:,}", f"{each.bytes / 1e6:,.1f}")
    terminal.print(Text(str(folder)))
    terminal.print(table)
    runs = sorted(file.parent.parent.name for file in folder.parent.glob(MANIFESTS))
    terminal.print(Text(f"shared by {len(runs)} run(s){': ' if runs else ''}{', '.join(runs)}"))
    return 0


def _verify(folder: Path, terminal: Console) -> int:
    with bar("reading") as progress:
        found = list(damages(folder, progress))
    for each in found:
        terminal.print(Text(f"{each.file} {each.problem}"))
    entries = sum(each.files for each in holdings(folder) if each.kind in ("latents", "texts", "masks"))
    terminal.print(f"{entries:,} entries read, {len(found)} damaged")
    if found:
        terminal.print("fix: delete the files named above and prepare again; nothing else is encoded anew")
    return DAMAGED if found else 0


def _prune(folder: Path, terminal: Console) -> int:
    needed = frozenset(name for file in folder.parent.glob(MANIFESTS) for name in named_in(file))
    done = prune(folder, needed)
    terminal.print(f"{done.files:,} file(s) taken away, {done.bytes / 1e6:,.1f} MB freed")
    if done.young:
        terminal.print(f"{done.young:,} that no run names were left: they are younger than an hour")
    return 0
