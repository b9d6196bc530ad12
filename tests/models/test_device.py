"""The machine that a recipe asks for, refused before anything is loaded."""

import pytest
import torch

from flux_lora.config.choices import ComputeDtype, Device
from flux_lora.config.schema import HardwareConfig
from flux_lora.errors import ConfigError
from flux_lora.models.device import placement_of


def test_a_cpu_computes_in_what_is_asked_for():
    found = placement_of(HardwareConfig(device=Device.cpu, dtype=ComputeDtype.bf16))
    assert (found.device, found.dtype) == (torch.device("cpu"), torch.bfloat16)


def test_a_card_that_does_not_compute_in_bf16_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    with pytest.raises(ConfigError, match="Tesla T4 does not compute in it") as refusal:
        placement_of(HardwareConfig(dtype=ComputeDtype.bf16))
    assert "hardware.dtype=fp32" in refusal.value.fix
    assert placement_of(HardwareConfig(dtype=ComputeDtype.fp32)).device.type == "cuda"
