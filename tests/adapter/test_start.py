"""A LoRA file as the place to begin: the same effect from the first step, or a refusal with the way out."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from flux_lora.adapter.files import write_dialect
from flux_lora.adapter.layer_types import Adapter, LoKr, LoRA, lora_delta
from flux_lora.adapter.start import read_start, started_from
from flux_lora.errors import ConfigError

Q, K = (f"transformer_blocks.0.attn.to_{part}" for part in "qk")
RANK = 2


def lora(seed: int, rank: int = RANK, alpha: float = 6.0) -> LoRA:
    generator = torch.Generator().manual_seed(seed)
    return LoRA(torch.randn(rank, 32, generator=generator), torch.randn(32, rank, generator=generator), alpha)


@pytest.fixture
def fresh() -> Adapter:
    """Of two layers, not trained yet, at alpha 4."""
    return Adapter({name: replace(lora(9), up=torch.zeros(32, RANK), alpha=4.0) for name in (Q, K)})


def written(folder: Path, adapter: Adapter, dialect: str = "diffusers") -> Path:
    return write_dialect(adapter, folder / "x.safetensors", dialect=dialect, metadata={}, dtype=torch.float32)


@pytest.mark.parametrize("dialect", ["diffusers", "lycoris", "onetrainer"])
def test_the_effect_is_the_file_s_and_the_alpha_the_recipe_s(dialect: str, fresh: Adapter, tmp_path: Path):
    trained = Adapter({Q: lora(1), K: lora(2)})
    found = started_from(written(tmp_path, trained, dialect), fresh)
    assert found.alphas == fresh.alphas
    for name, layer in found.layers.items():
        torch.testing.assert_close(lora_delta(layer), lora_delta(trained.layers[name]))


def test_another_rank_is_refused_with_the_command_that_changes_it(tmp_path: Path):
    file = written(tmp_path, Adapter({Q: lora(1, rank=3)}))
    with pytest.raises(ConfigError, match="has rank 3, and adapter.rank is 2") as refused:
        read_start(file, {RANK})
    assert f"flux-lora resize file={file} rank=2" in refused.value.fix


def test_ranks_that_lie_elsewhere_are_refused_by_name(fresh: Adapter, tmp_path: Path):
    wide = replace(fresh.layers[K], down=torch.zeros(3, 32), up=torch.zeros(32, 3))
    file = written(tmp_path, Adapter({Q: lora(1, rank=3), K: lora(2)}))
    with pytest.raises(ConfigError, match=f"has rank 3 at {Q}, which is trained at 2"):
        started_from(file, Adapter({Q: fresh.layers[Q], K: wide}))


def test_another_layer_type_is_refused(tmp_path: Path):
    factors = (torch.randn(4, 4), None, None, torch.randn(8, 8), None, None)
    file = written(tmp_path, Adapter({Q: LoKr(*factors, 1.0)}), "lycoris")
    with pytest.raises(ConfigError, match="is a LoKr, and only LoRAs are trained"):
        read_start(file, {RANK})


@pytest.mark.parametrize(
    ("names", "told"), [((Q,), f"lacks {K}"), ((Q, K, "transformer_blocks.1.attn.to_q"), "which is not trained")]
)
def test_other_layers_are_refused_by_name(names: tuple[str, ...], told: str, fresh: Adapter, tmp_path: Path):
    file = written(tmp_path, Adapter({name: lora(number) for number, name in enumerate(names)}))
    with pytest.raises(ConfigError, match=told) as refused:
        started_from(file, fresh)
    assert "adapter.targets" in refused.value.fix
