"""Files whose tensors, names, shapes, metadata or config make no sense: answered, or refused in two lines."""

import json
import resource
import time
from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from flux_lora.adapter.dialects.peft import CONFIG, WEIGHTS
from flux_lora.adapter.inspection import describe
from flux_lora.commands.convert import convert
from flux_lora.config.choices import ExportDialect
from flux_lora.config.file_verbs import ConvertArgs
from flux_lora.errors import AdapterFileError, ConfigError, UserError
from tests.adapter.other_trainers import DIALECTS

CASES, CHUNKS = 25, 4
SLOW_CASES, SLOW_CHUNKS = 500, 40
SECONDS = 5.0
MOST_GROWTH_KIB = 2**20
ENDS = (
    ".lora_A.weight",
    ".lora_B.weight",
    ".lora_down.weight",
    ".lora_up.weight",
    ".alpha",
    ".dora_scale",
    ".lokr_w1",
    ".lokr_w2",
    ".lokr_w2_a",
    ".hada_w1_a",
    ".oft_blocks",
    ".rescale",
    ".diff",
    ".down",
    ".up",
    ".weight",
    "",
)
DTYPES = (torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.int64, torch.bool, torch.float8_e4m3fn)
NUMBERS = (0.0, -1.0, 1e38, float("inf"), float("nan"), 1e-40)
WORDS = (
    "",
    "\x1b[2J",
    "💥" * 300,
    "null",
    "[" * 500,
    json.dumps({"transformer.r": 4, "transformer.lora_alpha": 10**400}),
    json.dumps({"transformer.r": -1, "transformer.lora_alpha": "x"}),
    json.dumps({"transformer.alpha_pattern": [1]}),
)
KEYS = ("lora_adapter_metadata", "ss_network_args", "modelspec.hash_sha256", "flux_lora.proof", "x\x1b]0;", "format")
FIELDS = (
    *("peft_type", "r", "lora_alpha", "alpha", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "bias"),
    *("modules_to_save", "init_lora_weights", "target_modules", "fan_in_fan_out"),
)
"""Of adapter_config.json."""
VALUES = (
    *(None, -1, 0, 1.5, True, 10**400, float("inf"), "x", "LOKR", "all", [], ["to_q"], {}, {"to_q": 1}, {"to_q": "x"}),
    *({"(a+)+$": 2}, {"transformer_blocks.*to_q": 2}, {".*.*.*.*": 2}, {f".*{n}": 2 for n in range(200)}),
)


def case(number: int, place: Path) -> Path:
    """A file of some dialect, or a folder of peft, changed in one to four ways."""
    random = Random(f"tensors {number}")
    dialect = random.choice([*sorted(DIALECTS), *("peft",) * 4])
    tensors = dict(DIALECTS[dialect])
    if dialect == "peft":
        place = place.with_name("folder") / WEIGHTS
        place.parent.mkdir(exist_ok=True)
        (place.parent / CONFIG).write_text(_config(random))
    for _ in range(random.randint(1, 4)):
        _change(tensors, random)
    metadata = {random.choice(KEYS): random.choice(WORDS) for _ in range(random.randint(0, 3))}
    save_file({name: each.contiguous().clone() for name, each in tensors.items()}, place, metadata)
    return place.parent if dialect == "peft" else place


def _config(random: Random) -> str:
    fields = {"peft_type": "LORA", "r": 2, "lora_alpha": 2}
    fields |= {random.choice(FIELDS): random.choice(VALUES) for _ in range(random.randint(0, 3))}
    return random.choice((json.dumps(fields), json.dumps(fields), json.dumps(fields), random.choice(WORDS)))


def _change(tensors: dict[str, Tensor], random: Random) -> None:
    if not tensors:
        return
    name = random.choice(sorted(tensors))
    tensor = tensors[name]
    match random.randrange(7):
        case 0:
            del tensors[name]
        case 1:
            tensors[name.rpartition(".")[0] + random.choice(ENDS)] = tensors.pop(name)
        case 2:
            tensors[name + random.choice(ENDS)] = tensor
        case 3:
            tensors[name] = _reshaped(tensor, random)
        case 4:
            tensors[name] = tensor.to(random.choice(DTYPES))
        case 5:
            tensors[name] = torch.full_like(tensor.float(), random.choice(NUMBERS))
        case _:
            letters = list(name)
            letters[random.randrange(len(letters))] = random.choice("._0xé\n")
            tensors["".join(letters)] = tensors.pop(name)


def _reshaped(tensor: Tensor, random: Random) -> Tensor:
    flat = tensor.flatten()
    ways = (
        flat,
        tensor[None],
        flat[:0],
        tensor.T if tensor.ndim == 2 else flat[:, None],
        flat[0] if flat.numel() else flat,
        flat.repeat(3),
        torch.ones(1, 200_000),
        torch.ones(200_000, 1),
    )
    return random.choice(ways)


def answered(number: int, folder: Path) -> str:
    """inspect's dialect and convert's exit; a refusal is a UserError with a fix. Anything else is a crash."""
    file, out = case(number, folder / "x.safetensors"), folder / "out.safetensors"
    began = time.process_time()
    try:
        answer = describe(file).dialect
    except AdapterFileError as refused:
        assert refused.problem.replace(str(file), "").isprintable() and refused.fix
        answer = "refused"
    try:
        convert(ConvertArgs(file=str(file), to=Random(number).choice(list(ExportDialect)), out=str(out)))
        answer += ", converted"
    except (AdapterFileError, ConfigError, UserError) as refused:
        assert refused.fix
    assert time.process_time() - began < SECONDS
    for made in folder.glob("out*"):
        made.unlink() if made.is_file() else [each.unlink() for each in made.iterdir()] and made.rmdir()
    return answer


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_files_without_sense_are_answered_or_refused(chunk: int, tmp_path: Path):
    answers = [answered(chunk * CASES + number, tmp_path) for number in range(CASES)]
    assert len(set(answers)) > 3, "the changes are neither too mild nor too harsh"


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(SLOW_CHUNKS))
def test_many_more_are_answered_or_refused_in_little_memory(chunk: int, tmp_path: Path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(1000 + chunk * SLOW_CASES, 1000 + (chunk + 1) * SLOW_CASES):
        answered(number, tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_GROWTH_KIB
