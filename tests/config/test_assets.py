"""Recipes and templates are found."""

import pytest

from flux_lora.config.assets import asset_folder


@pytest.mark.parametrize("name", ["recipes", "data_templates"])
def test_a_folder_that_ships_is_found(name: str):
    assert asset_folder(name).is_dir()


def test_a_folder_that_does_not_ship_is_named():
    with pytest.raises(FileNotFoundError, match="nothing_of_the_kind"):
        asset_folder("nothing_of_the_kind")
