"""The folders that ship with the package, in a wheel and in a checkout."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def asset_folder(name: str) -> Path:
    """The folder `recipes` or `data_templates`, of the wheel or else of the checkout. Raises FileNotFoundError."""
    for folder in (PACKAGE / name, PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"{name} is neither in {PACKAGE} nor beside it: the installation is incomplete")
