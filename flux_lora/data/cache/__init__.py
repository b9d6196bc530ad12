"""Each picture and each caption is encoded once, and kept under a name made of everything that changes the result.

So there is no "clear cache" knob and no stale read: an edited caption is another name, and so is an edited pixel.

entries.py   one file for each latent, text and mask, whole or not there
glances.py   which file came to which entries, so that one that has not changed is not decoded again
recall.py    what crops must keep of a file, found once
sight.py     a picture and its mask as the encoder sees them
shelf.py     encoded samples, read from the disk when they are asked for
encode.py    what is missing is made: captions first, then pictures
stages.py    seconds and peak memory of a stage
upkeep.py    what is there, whether it is sound, and what nobody needs any more
"""

from flux_lora.data.cache.encode import (
    EncodeImage,
    EncodeOptions,
    EncodeResult,
    Encoders,
    ProcessShare,
    Progress,
    encode_all,
    encode_captions,
    encode_share,
)
from flux_lora.data.cache.shelf import EncodedDataset, EncodedSample, EntryNames
from flux_lora.data.cache.stages import StageProfile

__all__ = [
    "EncodedSample",
    "Encoders",
    "EntryNames",
    "EncodeResult",
    "EncodeImage",
    "ProcessShare",
    "EncodedDataset",
    "StageProfile",
    "Progress",
    "EncodeOptions",
    "encode_all",
    "encode_captions",
    "encode_share",
]
