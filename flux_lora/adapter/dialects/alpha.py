"""Rank and alpha outside the tensors: in peft's adapter_config.json, or in the metadata of diffusers' files."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from flux_lora.adapter.header import usable_number
from flux_lora.errors import AdapterFileError

METADATA_KEY = "lora_adapter_metadata"
MODELS = ("transformer", "text_encoder", "text_encoder_2", "")
"""What the keys of diffusers' metadata begin with; transformer.save_lora_adapter puts nothing before them."""
SAFE_PATTERN = re.compile(r"\^?(?:[\w-]|\\?\.|\\d\+?|\[[\w-]+\]|\(\w+(?:\|\w+)*\)|\.[*+])+\$?")
"""The patterns that trainers write. Any other regular expression may backtrack without end."""
ANYTHING = re.compile(r"\.[*+]")
MOST_ANYTHING = 2
"""Of `.*` in one pattern: each makes the search as long again as a name."""
MOST_LONG_PATTERNS = 100
"""With a `.*` in them."""
MOST_PATTERNS = 2_000
CLOSE = 1e-3
"""Relative: alpha may have been rounded to a 16-bit dtype."""


@dataclass(frozen=True, kw_only=True)
class PeftScales:
    """Rank and alpha of a peft LoraConfig."""

    rank: int
    alpha: float
    ranks: Mapping[str, float]
    """rank_pattern."""
    alphas: Mapping[str, float]
    """alpha_pattern."""
    rooted: bool
    """rsLoRA: alpha is divided by the square root of the rank."""
    where: str
    """The file or metadata key it was read from, for messages."""

    def scale(self, module: str, rank: int) -> float:
        """alpha / rank of the module. `rank` is that of its tensors, 0 where they have none; AdapterFileError where the
        config has another."""
        config_rank = _pattern(self.ranks, module, self.rank)
        if rank and config_rank != rank:
            raise AdapterFileError(
                f"{self.where} says rank {config_rank:g} for {module}, its tensors have {rank}",
                fix="give the file and the config that were saved together",
            )
        alpha = _pattern(self.alphas, module, self.alpha)
        return alpha / (math.sqrt(config_rank) if self.rooted else config_rank)


def peft_scales(config: Mapping[str, object], where: str) -> PeftScales:
    """Rank and alpha out of a LoraConfig's fields; AdapterFileError where they are no usable numbers."""
    rank, alpha = config.get("r"), config.get("lora_alpha", config.get("alpha"))
    if not usable_number(rank) or not usable_number(alpha) or rank < 1 or int(rank) != rank:
        raise AdapterFileError(
            f"{where} says rank {str(rank)[:40]} and alpha {str(alpha)[:40]}, which are no numbers to use",
            fix="give the adapter_config.json that peft saved",
        )
    return PeftScales(
        rank=int(rank),
        alpha=float(alpha),
        ranks=_patterns(config.get("rank_pattern"), where),
        alphas=_patterns(config.get("alpha_pattern"), where),
        rooted=config.get("use_rslora") is True,
        where=where,
    )


def metadata_scales(metadata: Mapping[str, str]) -> Mapping[str, PeftScales]:
    """Rank and alpha in a file's metadata, by model (transformer, text_encoder, ...). diffusers (0.35 and later) uses
    them, ComfyUI does not."""
    if METADATA_KEY not in metadata:
        return {}
    config = parse_peft_config(metadata[METADATA_KEY], METADATA_KEY)
    found = {}
    for model in MODELS:
        start = f"{model}." if model else ""
        fields = {key.removeprefix(start): value for key, value in config.items() if key.startswith(start)}
        if "r" in fields:
            found[model] = peft_scales(fields, METADATA_KEY)
    return found


def parse_peft_config(text: str, where: str) -> Mapping[str, object]:
    """The fields of a JSON object; AdapterFileError if the text is none."""
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise AdapterFileError(f"{where} is not a JSON object", fix="save the adapter again; it is damaged")
    return config


def agree(one: float, other: float) -> bool:
    """Whether two scales are the same but for rounding."""
    return abs(one - other) <= CLOSE * max(abs(one), abs(other))


def _pattern(patterns: Mapping[str, float], module: str, otherwise: float) -> float:
    """peft's rule: the first pattern that the module's name ends with, from a dot on."""
    for pattern, value in patterns.items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return otherwise


def _patterns(value: object, where: str) -> dict[str, float]:
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > MOST_PATTERNS:
        raise AdapterFileError(f"{where} has patterns that are no table", fix="save the adapter again with peft")
    if sum("*" in pattern or "+" in pattern for pattern in value) > MOST_LONG_PATTERNS:
        raise AdapterFileError(
            f"{where} has more patterns with .* or + than any trainer writes", fix="save the adapter again with peft"
        )
    for pattern, number in value.items():
        if (
            len(ANYTHING.findall(pattern)) > MOST_ANYTHING
            or not SAFE_PATTERN.fullmatch(pattern)
            or not usable_number(number)
            or number == 0
        ):
            raise AdapterFileError(
                f"{where} has the pattern {pattern[:80]!r}: {str(number)[:40]}, which is not one of module names",
                fix="save the adapter again with the modules' names as patterns",
            )
    return {pattern: float(number) for pattern, number in value.items()}
