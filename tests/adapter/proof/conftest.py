"""Adapters of the tiny FLUX, and the base, opened."""

from pathlib import Path

import pytest
import torch
from torch import nn

from flux_lora.adapter.layer_types import Adapter, LoRA
from flux_lora.adapter.proof.diffusers_load import LoadedBase
from flux_lora.config.choices import AdapterTargets
from flux_lora.models.flux1.family import Flux1
from flux_lora.models.flux1.load import load_transformer
from tests.adapter.example_adapters import frozen_transformer, learned, learned_adapter


@pytest.fixture(scope="module")
def adapter() -> Adapter:
    return learned_adapter(alpha=6.0, targets=AdapterTargets.blocks_all)


@pytest.fixture(scope="module")
def whole() -> Adapter:
    """Every linear layer of the tiny FLUX, those outside the blocks too."""
    modules = frozen_transformer().named_modules()
    linears = {name: module for name, module in modules if isinstance(module, nn.Linear)}
    generator = torch.Generator().manual_seed(3)
    fresh = {
        name: LoRA(torch.randn(2, each.in_features, generator=generator), torch.zeros(each.out_features, 2), 1.0)
        for name, each in linears.items()
    }
    return learned(Adapter(fresh))


@pytest.fixture(scope="module")
def base(tiny_flux: Path) -> LoadedBase:
    return LoadedBase(family=Flux1(), transformer=load_transformer(str(tiny_flux), torch.float32))
