"""Ways to spoil a file, and an endless row of spoiled files that is the same each time."""

import json
from random import Random

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from tests.adapter.other_trainers import DIALECTS, METADATA, SEEDS, Tensors

NAMES = (
    "\x1b[2J",
    "a" * 5000,
    "\u202egnp.x",
    "transformer.x.lora_A.weight",
    "",
    "lora_unet_",
    ".alpha",
    "é.lora_up.weight",
)
DTYPES = ("F8_E4M3", "F8_E5M2", "F8_E8M0", "BF16", "F64", "I64", "U8", "BOOL", "F31", "U16", "C64", "", None, ["F32"])
ALPHAS = (float("nan"), float("inf"), 0.0, -1.0, 1e38)
HOSTILE_METADATA = (
    {"lora_adapter_metadata": "{"},
    {"lora_adapter_metadata": '{"transformer.r": "x", "transformer.lora_alpha": [], "transformer.rank_pattern": 3}'},
    {"lora_adapter_metadata": '{"transformer.r": 0, "transformer.lora_alpha": 1e999}'},
    {"lora_adapter_metadata": "[" * 50_000},
    {"ss_network_args": "\x1b]0;owned\x07", "modelspec.title": "\x00"},
    {"a": 1},
    {"b": None},
)


def spoiled(number: int) -> bytes:
    """File `number` of an endless row: one of the seeds, spoiled in one to three ways. The same each time."""
    random = Random(number)
    raw = random.choice(list(SEEDS.values()))
    for _ in range(random.choice((1, 1, 2, 3))):
        raw = random.choice(WAYS)(raw, random)
    return raw


def flip(raw: bytes, random: Random) -> bytes:
    """Some bytes anywhere."""
    changed = bytearray(raw)
    for _ in range(random.choice((1, 2, 8)) if raw else 0):
        changed[random.randrange(len(changed))] = random.randrange(256)
    return bytes(changed)


def flip_header(raw: bytes, random: Random) -> bytes:
    """Letters of the header that JSON is made of."""
    changed, end = bytearray(raw), min(len(raw), 8 + int.from_bytes(raw[:8], "little"))
    if end > 9:
        changed[random.randrange(8, end)] = random.choice(b'{}[]",:0129-\\utfn e.')
    return bytes(changed)


def cut(raw: bytes, random: Random) -> bytes:
    """The end, or a piece out of the middle."""
    start = random.randrange(len(raw) + 1)
    return raw[:start] + (b"" if random.random() < 0.5 else raw[start + random.randrange(64) :])


def grow(raw: bytes, random: Random) -> bytes:
    """Bytes that do not belong there."""
    place = random.randrange(len(raw) + 1)
    return raw[:place] + random.randbytes(random.randrange(1, 64)) + raw[place:]


def lie(raw: bytes, random: Random) -> bytes:
    """About the header's length."""
    return (
        random.choice((0, 1, 2**31, 2**63, 2**64 - 1, len(raw), max(0, len(raw) - 8))).to_bytes(8, "little") + raw[8:]
    )


def retell(raw: bytes, random: Random) -> bytes:
    """The header, still JSON, and the body as it was."""
    length = int.from_bytes(raw[:8], "little")
    try:
        contents = json.loads(raw[8 : 8 + length])
    except (ValueError, RecursionError):
        return raw
    names = [name for name in contents if isinstance(contents[name], dict) and name != "__metadata__"]
    if names:
        random.choice(TELLS)(contents, random.choice(names), random)
    told = json.dumps(contents).encode()
    return len(told).to_bytes(8, "little") + told + raw[8 + length :]


def rename(contents: dict, name: str, random: Random) -> None:
    """A tensor, or a piece of its name."""
    other = random.choice(list(contents))
    pieces = name.split(".")
    pieces[random.randrange(len(pieces))] = random.choice((*NAMES, *other.split(".")))
    contents[random.choice((".".join(pieces), f"{name}.{other}", *NAMES))] = contents.pop(name)


def retype(contents: dict, name: str, random: Random) -> None:
    """Another number format, of the same size or not."""
    contents[name]["dtype"] = random.choice(DTYPES)


def reshape(contents: dict, name: str, random: Random) -> None:
    """The same numbers in another shape, or a shape that cannot be."""
    shape = contents[name].get("shape")
    if not isinstance(shape, list):
        return
    whole = 1
    for side in shape:
        whole *= side if type(side) is int else 1
    shapes = (
        shape[::-1],
        [whole],
        [1, whole],
        [whole, 1],
        [*shape, 1, 1],
        [],
        [2**40, 0],
        [-1],
        [whole, 1, 1],
        "8",
        None,
    )
    contents[name]["shape"] = random.choice(shapes)


def move(contents: dict, name: str, random: Random) -> None:
    """A tensor to the place of another."""
    contents[name]["data_offsets"] = random.choice(
        (contents[random.choice(list(contents))].get("data_offsets"), [0, 4], [4, 0], [2**62, 2**62], [0], "0", None)
    )


def drop(contents: dict, name: str, random: Random) -> None:
    """A tensor whose bytes stay."""
    del contents[name]


def swap(contents: dict, name: str, random: Random) -> None:
    """Two tensors' names."""
    other = random.choice([each for each in contents if each != "__metadata__"])
    contents[name], contents[other] = contents[other], contents[name]


def gossip(contents: dict, name: str, random: Random) -> None:
    """Metadata of a stranger."""
    contents["__metadata__"] = random.choice(HOSTILE_METADATA)


TELLS = (rename, rename, retype, reshape, reshape, move, drop, swap, gossip)


def remake(raw: bytes, random: Random) -> bytes:
    """A whole file again, of other tensors."""
    try:
        tensors = load(raw)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, AttributeError):
        return raw
    for _ in range(random.choice((1, 1, 3))):
        if tensors:
            random.choice(REMAKES)(tensors, random.choice(list(tensors)), random)
    return save({key: tensor.contiguous().clone() for key, tensor in tensors.items()}, random.choice((METADATA, None)))


def take_out(tensors: Tensors, name: str, random: Random) -> None:
    """One tensor, or all of one ending."""
    ending = name.rpartition(".")[2] if random.random() < 0.3 else name
    for key in [key for key in tensors if key.endswith(ending)]:
        del tensors[key]


def call(tensors: Tensors, name: str, random: Random) -> None:
    """One tensor by a name out of another dialect."""
    other = random.choice(list(random.choice(list(DIALECTS.values()))))
    tensors[random.choice((other, *NAMES, name.replace("0", "99"), f"{name}.weight"))] = tensors.pop(name)


def bend(tensors: Tensors, name: str, random: Random) -> None:
    """The shape or size of one tensor."""
    tensor = tensors[name]
    bends = (tensor.flatten(), tensor.T if tensor.ndim == 2 else tensor, tensor[None], tensor[..., None, None])
    tensors[name] = random.choice(
        (*bends, tensor.flatten()[:1], torch.zeros(0), tensor.repeat(2, *[1] * (tensor.ndim - 1)))
    )


def round_off(tensors: Tensors, name: str, random: Random) -> None:
    """The number format of one tensor or of all."""
    dtype = random.choice((torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.bool, torch.float8_e4m3fn))
    for key in random.choice(([name], list(tensors))):
        tensors[key] = tensors[key].to(dtype)


def poison(tensors: Tensors, name: str, random: Random) -> None:
    """One number, or a whole tensor."""
    value = random.choice(ALPHAS)
    poisoned = tensors[name].contiguous().clone()
    if poisoned.is_floating_point():
        poisoned.view(-1)[: random.choice((1, poisoned.numel()))] = value
    tensors[name] = poisoned


REMAKES = (take_out, call, bend, round_off, poison)
WAYS = (flip, flip_header, cut, grow, lie, retell, retell, retell, remake, remake, remake, remake)
