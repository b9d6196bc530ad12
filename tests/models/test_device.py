"""A judge is on the card only while it judges, and only where the card has room beside the base."""

import pytest
import torch
from torch import nn

from flux_lora.models.counting import bytes_of
from flux_lora.models.device import has_room, visiting


@pytest.mark.parametrize(("free", "fits"), [(4.0, True), (3.2, True), (2.9, False), (0.1, False)])
def test_a_card_has_room_where_weights_and_what_using_them_takes_are_free(
    monkeypatch: pytest.MonkeyPatch, free: float, fits: bool
):
    """No GPU is here: its answer is put in its place."""
    weights = int(1.6 * 2**30)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (int(free * 2**30), 24 * 2**30))
    assert has_room(torch.device("cuda"), weights) is fits


def test_without_room_it_judges_on_the_host(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (0, 24 * 2**30))
    model = nn.Linear(8, 8)
    assert bytes_of(model) == 4 * 72
    with visiting(model, torch.device("cuda")) as place:
        assert place == torch.device("cpu") and model(torch.ones(8)).shape == (8,)


def test_a_cpu_always_has_room():
    assert has_room(torch.device("cpu"), 10**15)
