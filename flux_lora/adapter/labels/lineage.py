"""What a file that is made of other files says of them."""

from collections.abc import Iterable, Mapping, Sequence

OF_THE_BYTES = (
    "format",
    "lora_adapter_metadata",
    "modelspec.hash_sha256",
    "ss_network_alpha",
    "ss_network_args",
    "ss_network_dim",
    "ss_network_module",
    "sshs_legacy_hash",
    "sshs_model_hash",
)
"""Facts of the tensors as they stood in the other file. In a new one they would be lies."""
SHARED = ("modelspec.architecture", "modelspec.implementation", "ss_base_model_version", "flux_lora.base")
"""What a merged file says if all its parts say the same."""
JOINED = ("modelspec.trigger_phrase", "modelspec.license")


def inherited_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """What stays true when the same adapter is written in other names, another rank or another dtype."""
    return {"format": "pt"} | {key: value for key, value in metadata.items() if key not in OF_THE_BYTES}


def merged_metadata(parts: Sequence[Mapping[str, str]], names: Sequence[str], title: str) -> dict[str, str]:
    """What a merged file says: what it was made of, every trigger and every licence."""
    facts = {"format": "pt", "modelspec.sai_model_spec": "1.0.1", "modelspec.title": title}
    facts["modelspec.merged_from"] = ", ".join(
        part.get("modelspec.title") or name for part, name in zip(parts, names, strict=True)
    )
    facts |= {key: parts[0][key] for key in SHARED if key in parts[0] and len(_all(key, parts)) == 1}
    facts |= {key: ", ".join(_all(key, parts)) for key in JOINED}
    non_commercial = any(part.get("flux_lora.non_commercial") == "true" for part in parts)
    facts["flux_lora.non_commercial"] = "true" if non_commercial else ""
    return {key: value for key, value in facts.items() if value}


def _all(key: str, parts: Iterable[Mapping[str, str]]) -> list[str]:
    """Every value of a key, once each."""
    return list(dict.fromkeys(part[key] for part in parts if part.get(key)))
