"""What the verbs on LoRA files cost at full size: FLUX.1's 494 layers in blocks, rank 64, bf16, one thread.

    python -m benchmarks.lora_files           prints the table
    python -m benchmarks.lora_files --write   and keeps it in benchmarks/results/lora_files.md

Each verb runs as a program of its own, start included. Memory is what belongs to it alone (anonymous pages): the pages
of the files it reads are the system's, which takes them back when it needs room.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import save_file

from benchmarks.ground import table
from flux_lora.adapter.files import write_dialect
from flux_lora.adapter.layer_types import Adapter, LoRA
from flux_lora.models.flux1.layers import flux1_shapes

RESULT = Path(__file__).parent / "results" / "lora_files.md"
RANK = 64
NAMES = (20_000, 100_000)
"""Of a file with as many names, each tensor a number."""


def main() -> None:
    """Print the table."""
    with TemporaryDirectory() as folder:
        text = _page(Path(folder))
    print(text)
    if "--write" in sys.argv:
        RESULT.write_text(text)


def _page(folder: Path) -> str:
    one, other = (_lora(folder / f"{seed}.safetensors", seed) for seed in (1, 2))
    rows = [
        ("inspect", *_cost(["inspect", f"file={one}"])),
        ("convert to=kohya", *_cost(["convert", f"file={one}", "to=kohya", f"out={folder / 'kohya.safetensors'}"])),
        ("merge of two", *_cost(["merge", f"files=[{one},{other}]", f"out={folder / 'sum.safetensors'}"])),
    ]
    for count in NAMES:
        rows.append((f"inspect of {count:,} names", *_cost(["inspect", f"file={_many(folder, count)}"])))
    title = (__doc__ or "").splitlines()[0]
    return f"# LoRA files at full size\n\n{title} By `python -m benchmarks.lora_files`; start included, " + (
        f"memory without the pages of files.\n\n{table(('', 'seconds', 'GB'), rows)}\n"
    )


def _lora(file: Path, seed: int) -> Path:
    generator = torch.Generator().manual_seed(seed)
    layers = {}
    for name, (outputs, inputs) in flux1_shapes().items():
        if "blocks." in name:
            down, up = torch.randn(RANK, inputs, generator=generator), torch.randn(outputs, RANK, generator=generator)
            layers[name] = LoRA(down / inputs**0.5, up * 1e-3, float(RANK))
    return write_dialect(Adapter(layers), file, dialect="diffusers", metadata={}, dtype=torch.bfloat16)


def _many(folder: Path, count: int) -> Path:
    file = folder / f"{count}.safetensors"
    stems = [f"transformer.transformer_blocks.{number}.attn.to_q" for number in range(count // 2)]
    one = torch.ones(1, 1)
    save_file({f"{stem}.lora_{side}.weight": one.clone() for stem in stems for side in "AB"}, file)
    return file


def _cost(words: Sequence[str]) -> tuple[str, str]:
    """Seconds, and the most memory of its own, in GB."""
    began, most = time.monotonic(), 0
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    program = subprocess.Popen([sys.executable, "-m", "flux_lora", *words], env=environment, stdout=subprocess.DEVNULL)
    while program.poll() is None:
        most = max(most, _own_memory(program.pid))
        time.sleep(0.05)
    assert program.returncode == 0, words
    return f"{time.monotonic() - began:.1f}", f"{most / 1e6:.1f}"


def _own_memory(pid: int) -> int:
    """Anonymous pages of the process, in kB; 0 once it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)


if __name__ == "__main__":
    main()
