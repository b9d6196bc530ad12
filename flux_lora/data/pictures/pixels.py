"""Between pictures and what the encoder reads.

Shape letters: C channels (3), H W height and width.
"""

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def to_pixels(picture: Image.Image) -> Tensor:
    """An RGB picture as CHW in [-1, 1]."""
    values = torch.from_numpy(np.array(picture, dtype=np.uint8))  # HWC
    return values.permute(2, 0, 1).float() / 127.5 - 1
