"""Finds the folders that ship with the package, from a wheel and from a checkout."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def asset_folder(name: str) -> Path:
    """The folder `recipes` or `data_templates`: inside an installed wheel, else at the top of the checkout."""
    for folder in (PACKAGE / name, PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"{name} is neither in {PACKAGE} nor beside it: the installation is incomplete")
