"""Each image and each caption is encoded once, and kept under a name made of everything that changes the result.

So there is no "clear cache" knob and no stale read: an edited caption is another name, and so is an edited pixel.

entries.py      one file for each latent, prompt embedding and mask; encoded samples read from them
index.py        image file -> entries and subject box, so that an unchanged file is not decoded again
preprocess.py   an image and its mask as the VAE reads them
encode.py       encode what is missing: captions first, then images; seconds and peak memory of each stage
maintenance.py  status, verify, prune
"""

from flux_lora.data.cache.encode import (
    EncodeImage,
    EncodeOptions,
    EncodeResult,
    Encoders,
    StageProfile,
    encode_all,
    encode_captions,
    encode_share,
)
from flux_lora.data.cache.entries import EncodedDataset, EncodedSample, EntryNames, traits_of

__all__ = [
    "EncodedSample",
    "Encoders",
    "EntryNames",
    "EncodeResult",
    "EncodeImage",
    "EncodedDataset",
    "StageProfile",
    "EncodeOptions",
    "encode_all",
    "encode_captions",
    "encode_share",
    "traits_of",
]
