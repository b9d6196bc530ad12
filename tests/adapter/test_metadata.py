"""What an exported file says about itself."""

import json

import torch

from flux_lora.adapter.metadata import Label, metadata_of
from flux_lora.adapter.tensors import Adapter, Layer

LABEL = Label(
    title="mug",
    trigger="zkmug",
    base="black-forest-labs/FLUX.1-dev",
    date="2026-11-21",
    resolution=768,
    versions={"torch": "2.13.0", "diffusers": "0.42.1"},
)


def adapter(*ranks: int) -> Adapter:
    return Adapter({str(rank): Layer(torch.ones(rank, 3), torch.ones(3, rank), 2.0 * rank) for rank in ranks})


def test_every_value_is_text_and_none_is_empty():
    assert all(isinstance(value, str) and value for value in metadata_of(LABEL, adapter(8)).values())


def test_the_words_that_other_programs_look_for_are_there():
    facts = metadata_of(LABEL, adapter(8))
    assert facts["modelspec.architecture"] == "flux-1-dev/lora"
    assert facts["modelspec.trigger_phrase"] == "zkmug"
    assert facts["modelspec.resolution"] == "768x768"
    assert (facts["ss_network_dim"], facts["ss_network_alpha"], facts["flux_lora.alpha"]) == ("8", "8", "16")
    assert json.loads(facts["flux_lora.versions"]) == {"torch": "2.13.0", "diffusers": "0.42.1"}


def test_mixed_ranks_are_called_dynamic():
    assert metadata_of(LABEL, adapter(4, 8))["ss_network_dim"] == "Dynamic"


def test_nothing_that_diffusers_builds_a_config_from_is_written():
    assert "lora_adapter_metadata" not in metadata_of(LABEL, adapter(8))
