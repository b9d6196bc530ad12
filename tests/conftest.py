"""What every room's tests share: a tiny FLUX in the real folder layout, made once per session."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("same every time, however busy the machine", deadline=None, derandomize=True)
settings.load_profile("same every time, however busy the machine")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def tiny_flux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A FluxPipeline folder with random weights. Read only: it is shared by all tests of a session."""
    from tests.tiny import write_tiny_flux

    return write_tiny_flux(tmp_path_factory.mktemp("tiny_flux"))
