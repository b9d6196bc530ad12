"""Encoded samples are read when they are asked for."""

import pytest
import torch

from flux_lora.data.cache.entries import EncodedDataset
from flux_lora.errors import RunError
from tests.data.colours import MeanColours, made_by, three_photos


@pytest.fixture
def shelf(tmp_path) -> EncodedDataset:
    return made_by(MeanColours(), three_photos(tmp_path / "photos"), tmp_path / "cache").encoded


def test_a_shelf_is_a_sequence(shelf):
    assert len(shelf) == len(list(shelf)) == 3
    assert torch.equal(shelf[-1].latent, shelf[2].latent)
    assert [one.latent.shape for one in shelf[1:]] == [one.latent.shape for one in list(shelf)[1:]]
    with pytest.raises(IndexError):
        shelf[3]


def test_nothing_is_read_before_it_is_asked_for(shelf, tmp_path):
    for file in (tmp_path / "cache").glob("latent-*"):
        file.unlink()
    with pytest.raises(RunError, match="prepare again"):
        shelf[0]


def test_a_mask_is_read_with_its_sample_and_absent_where_there_is_none(shelf):
    assert shelf[0].mask is None
