"""What a weight becomes in fp8, Q8_0, Q4_K and NF4, and how coarse each format is.

A block is a run of neighbours in a row. Widths of FLUX are multiples of every block here; a
tensor that is not is rounded as one long row, its last block filled with zeros.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from flux_lora.errors import ConfigError

Act = Callable[[Tensor], Tensor]

FP8_LARGEST = 448.0
FP8_MANTISSA_BITS = 3
FP8_LOWEST_EXPONENT = -6
Q8_BLOCK, Q8_LEVELS = 32, 127
Q4_BLOCK, Q4_LEVELS = 32, 15
Q4_SUPER_BLOCK, Q4_SCALE_LEVELS = 256, 63
Q4_SEARCH = tuple(0.1 * step - 1.0 for step in range(21))
"""By how many levels a tried range is wider than 15."""
NF4_BLOCK = 64
NF4_LEVELS = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
"""The quantiles of a normal distribution that QLoRA (Dettmers et al. 2023, appendix E) prints."""


@dataclass(frozen=True)
class Grid:
    """How coarse a format is at each number of a weight (all three as one row of numbers)."""

    below: Tensor
    """The distance to the format's next value below."""
    above: Tensor
    drift: Tensor
    """How far this place moves when the numbers that set its block's scale move by 1."""


@dataclass(frozen=True)
class QuantizedFormat:
    """One way to keep a weight in few bits."""

    name: str
    about: str
    quantize: Act
    """The float32 values that the format gives back."""
    grid: Callable[[Tensor], Grid]


def quantize_as(name: str) -> Act:
    """The function that does to a weight what storing it as fp8-e4m3, q8_0, q4_k or nf4 does."""
    return format_of(name).quantize


def format_of(name: str) -> QuantizedFormat:
    """The format of that name."""
    if name not in FORMATS:
        raise ConfigError(f"{name!r} is not a rounding known here", fix=f"take one of {', '.join(FORMATS)}")
    return FORMATS[name]


def fp8(weight: Tensor) -> Tensor:
    """float8 e4m3fn without a scale, as ComfyUI casts a base: values beyond 448 become 448."""
    return weight.float().clamp(-FP8_LARGEST, FP8_LARGEST).to(torch.float8_e4m3fn).float()


def fp8_grid(weight: Tensor) -> Grid:
    """2^(exponent - 3), and 2^-9 for all that is below 2^-6 (most of FLUX's weights are). No block, no drift."""
    row = weight.float().flatten()
    exponent = (torch.frexp(row)[1] - 1).clamp(min=FP8_LOWEST_EXPONENT)
    step = torch.ldexp(torch.ones_like(row), exponent - FP8_MANTISSA_BITS)
    return Grid(step, step, torch.zeros_like(row))


def q8_0(weight: Tensor) -> Tensor:
    """GGUF Q8_0: blocks of 32 share one fp16 scale, largest / 127; levels are whole numbers."""
    blocks = _blocks(weight, Q8_BLOCK)
    scale = blocks.abs().amax(dim=1, keepdim=True) / Q8_LEVELS
    levels = _nearest(blocks * _inverse(scale))
    return _like(levels * scale.half().float(), weight)


def q8_0_grid(weight: Tensor) -> Grid:
    """The scale; nothing for the block's largest number, which sets the scale anew."""
    size = _blocks(weight, Q8_BLOCK).abs()
    largest = size.amax(dim=1, keepdim=True)
    step = _row(torch.where(size < largest, largest / Q8_LEVELS, 0.0), weight)
    return Grid(step, step, _row(size * _inverse(largest), weight))


def q4_k(weight: Tensor) -> Tensor:
    """GGUF Q4_K: d * scale * level - dmin * min in sub-blocks of 32, with 16 levels.

    scale and min have 6 bits, and share d and dmin (fp16) among the 8 sub-blocks of a super-block.
    """
    blocks = _blocks(weight, Q4_SUPER_BLOCK).unflatten(1, (-1, Q4_BLOCK))
    scale, low = q4_scales(blocks)
    return _like(_q4_levels(blocks, scale, low) * scale - low, weight)


def q4_k_grid(weight: Tensor) -> Grid:
    """The sub-block's scale. Each level moves with the sub-block's smallest and largest number."""
    blocks = _blocks(weight, Q4_SUPER_BLOCK).unflatten(1, (-1, Q4_BLOCK))
    scale, low = q4_scales(blocks)
    place = _q4_levels(blocks, scale, low) / Q4_LEVELS
    step = _row(scale.expand_as(blocks), weight)
    return Grid(step, step, _row((place.square() + (1 - place).square()).sqrt(), weight))


def q4_scales(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and (positive) minimum of each sub-block, after their own rounding to 6 bits."""
    scale, low = q4_fit(blocks)
    return _six_bits(scale), _six_bits(low)


def q4_fit(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and (positive) minimum before that rounding, as llama.cpp's reference finds them.

    Levels are taken from ranges a little under and over the numbers' own, from the best start so far;
    for each the least-squares line through numbers and levels is tried. Larger numbers weigh more.
    """
    start, end = blocks.amin(dim=2, keepdim=True).clamp(max=0), blocks.amax(dim=2, keepdim=True)
    scale = (end - start) / Q4_LEVELS
    weight = blocks.square().mean(dim=2, keepdim=True).sqrt() + blocks.abs()
    total, mean = weight.sum(2, keepdim=True), (weight * blocks).sum(2, keepdim=True)

    def error_of(scale: Tensor, start: Tensor, levels: Tensor) -> Tensor:
        return (weight * (scale * levels + start - blocks).square()).sum(2, keepdim=True)

    best = error_of(scale, start, _q4_levels(blocks, scale, -start))
    for wider in Q4_SEARCH:
        levels = _q4_levels(blocks, (end - start) / (Q4_LEVELS + wider), -start)
        first, second = (weight * levels).sum(2, keepdim=True), (weight * levels.square()).sum(2, keepdim=True)
        cross = (weight * levels * blocks).sum(2, keepdim=True)
        free = total * second - first.square()
        slope, offset = ((total * cross - mean * first) / free, (second * mean - first * cross) / free)
        slope, offset = torch.where(offset > 0, cross / second, slope), offset.clamp(max=0)
        error = error_of(slope, offset, levels)
        better = (free > 0) & (error < best)
        scale, start = torch.where(better, slope, scale), torch.where(better, offset, start)
        best = torch.where(better, error, best)
    return scale, -start


def nf4(weight: Tensor) -> Tensor:
    """bitsandbytes NF4: blocks of 64 share their largest size, levels are quantiles of a normal distribution."""
    levels, largest, nearest = _nf4_levels(weight)
    return _like(levels[nearest] * largest, weight)


def nf4_grid(weight: Tensor) -> Grid:
    """The gaps beside the level; nothing for the block's largest number, which sets the scale anew."""
    levels, largest, nearest = _nf4_levels(weight)
    gaps = levels.diff()
    gaps = torch.cat([gaps[:1], gaps, gaps[-1:]])
    free = _blocks(weight, NF4_BLOCK).abs() < largest
    below, above = (_row(torch.where(free, gaps[nearest + side] * largest, 0.0), weight) for side in (0, 1))
    return Grid(below, above, _row(levels[nearest].abs(), weight))


FORMATS: Mapping[str, QuantizedFormat] = {
    each.name: each
    for each in (
        QuantizedFormat(
            "fp8-e4m3", "fp8 without a scale, as in flux1-dev-fp8 and ComfyUI's weight_dtype", fp8, fp8_grid
        ),
        QuantizedFormat("q8_0", "GGUF with 8.5 bits a weight", q8_0, q8_0_grid),
        QuantizedFormat("q4_k", "GGUF with 4.5 bits a weight", q4_k, q4_k_grid),
        QuantizedFormat("nf4", "bitsandbytes with 4.5 bits a weight, as Forge and QLoRA have it", nf4, nf4_grid),
    )
}


def _blocks(weight: Tensor, size: int) -> Tensor:
    row = weight.float().flatten()
    return pad(row, (0, -row.numel() % size)).unflatten(0, (-1, size))


def _row(blocks: Tensor, weight: Tensor) -> Tensor:
    return blocks.flatten()[: weight.numel()]


def _like(blocks: Tensor, weight: Tensor) -> Tensor:
    return _row(blocks, weight).reshape(weight.shape)


def _inverse(scale: Tensor) -> Tensor:
    return torch.where(scale == 0, 0.0, 1 / scale)


def _nearest(value: Tensor) -> Tensor:
    """Half away from zero, as C's roundf; torch.round goes to even."""
    return value.sign() * (value.abs() + 0.5).floor()


def _q4_levels(blocks: Tensor, scale: Tensor, low: Tensor) -> Tensor:
    return ((blocks + low) * _inverse(scale)).round().clamp(0, Q4_LEVELS)


def _six_bits(sizes: Tensor) -> Tensor:
    largest = sizes.amax(dim=1, keepdim=True)
    steps = (sizes * _inverse(largest / Q4_SCALE_LEVELS)).round()
    return steps * (largest / Q4_SCALE_LEVELS).half().float()


def _nf4_levels(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The table, each block's largest size, and which level each number is nearest to."""
    blocks = _blocks(weight, NF4_BLOCK)
    levels = torch.tensor(NF4_LEVELS, device=blocks.device)
    largest = blocks.abs().amax(dim=1, keepdim=True)
    between = (levels[1:] + levels[:-1]) / 2
    return levels, largest, torch.bucketize(blocks * _inverse(largest), between)
