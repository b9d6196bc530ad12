"""How much of the subject is in an image: the share of its own places, in held-out photos, that are found again.

What belongs to the subject is worked out, not asked for: a place of a held-out photo is the subject's own as far as it
is found again in the other photos, whose backgrounds differ, and not in what the base draws. So a background that is
alike is no likeness, and neither is what every thing of the class has. Places are looked for wherever they stand.

    match_t(image) = max over places u of the image <t, u>
    found_t(image) = (match_t(image) - common_t) / (again_t - common_t), between 0 and 1
        common_t: the base's images, nearly at best; again_t: the training photos on average
    likeness = (mean over own places of found - floor) / (ceiling - floor)
        floor: the base's class images; ceiling: the held-out photos, each looked for in the others

Places that look alike share their weight, so a part that is missing costs about as much as another, whatever its area.
Photos are compared as the base's VAE gives them back, since renders come out of it: what that cannot hold is not asked
for.
Shape letters: N M images, H held-out photos, T tokens, D features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image, ImageOps
from torch import Tensor

COMMON = 0.9
"""Quantile, over the base's images, of what they hold of a place: what some of them have is not the subject's own."""
OWN = 0.25
"""A place is the subject's own if it stands out at least so much, as a share of the one that stands out most."""
ALIKE = 0.8
"""Cosine from which two places of one photo are the same kind of place."""
SMALLEST_SPAN = 0.1
"""Of floor to ceiling; less is noise."""
FAINTEST = 0.02
"""Cosine; a place that stands out less counts as standing out so much."""
TURNS = (85, 170)
"""Hue, in steps of 256, by which the altered copies of a photo are turned."""


@dataclass(frozen=True)
class Identity:
    """The subject's own places in the held-out photos, and the scale of likeness."""

    tokens: Tensor  # HTD
    common: Tensor  # HT
    again: Tensor  # HT
    own: Tensor  # HT, rows sum to 1
    floor: float
    ceiling: float

    @property
    def tells_apart(self) -> bool:
        """Whether the photos have something that the base's images of the class have not."""
        return self.ceiling - self.floor >= SMALLEST_SPAN

    def likeness(self, tokens_NTD: Tensor) -> Tensor:
        """N: 0 as the base's class images, 1 as the held-out photos are to each other; above that where it is more."""
        return (self.found(tokens_NTD).mean(0) - self.floor) / max(self.ceiling - self.floor, SMALLEST_SPAN)

    def found(self, tokens_NTD: Tensor) -> Tensor:
        """The share of each photo's own places that each image has: HN."""
        span_HT = (self.again - self.common).clamp_min(FAINTEST)
        found_HNT = (matches(self.tokens, tokens_NTD) - self.common[:, None]) / span_HT[:, None]
        return (found_HNT.clamp(0, 1) * self.own[:, None]).sum(-1)


def learn_identity(
    held_out_HTD: Tensor, training_NTD: Tensor, base_NTD: Tensor, class_MTD: Tensor, masks_HT: Tensor | None = None
) -> Identity:
    """From held-out and training photos, all of the base's images, and those of the class.

    `masks_HT` is above 0 where a photo's mask shows the subject: nothing outside is its own.
    """
    again_HT = matches(held_out_HTD, training_NTD).mean(dim=1)
    common_HT = matches(held_out_HTD, base_NTD).quantile(COMMON, dim=1)
    apart_HT = again_HT - common_HT
    own_HT = (apart_HT > OWN * apart_HT.amax(dim=1, keepdim=True).clamp_min(FAINTEST)).float()
    if masks_HT is not None:
        own_HT = own_HT * (masks_HT > 0)
    own_HT = _evened(own_HT, held_out_HTD)
    unscaled = Identity(held_out_HTD, common_HT, again_HT, own_HT, 0.0, 1.0)
    among_HH = unscaled.found(held_out_HTD)
    others_HH = ~torch.eye(len(held_out_HTD), dtype=torch.bool)
    floor, ceiling = float(unscaled.found(class_MTD).mean()), float(among_HH[others_HH].mean())
    return Identity(held_out_HTD, common_HT, again_HT, own_HT, floor, ceiling)


def _evened(own_HT: Tensor, tokens_HTD: Tensor) -> Tensor:
    """Weights that sum to 1 for each photo: places that look alike share one place's weight, so a cap counts as much
    as a body."""
    alike_HTT = torch.einsum("htd,hud->htu", tokens_HTD, tokens_HTD) > ALIKE
    weights_HT = own_HT / (alike_HTT * own_HT[:, None]).sum(-1).clamp_min(1)
    return weights_HT / weights_HT.sum(dim=1, keepdim=True).clamp_min(1e-6)


def matches(queries_HTD: Tensor, images_NTD: Tensor) -> Tensor:
    """The best cosine of each place of each query among all places of each image: HNT."""
    found = [torch.einsum("htd,ud->htu", queries_HTD, image_TD).amax(-1) for image_TD in images_NTD]
    return torch.stack(found, dim=1)


def layout_similarity(images_NTD: Tensor, others_MTD: Tensor) -> Tensor:
    """Mean cosine of places that stand at the same spot: NM. 1 is the same image."""
    return torch.einsum("ntd,mtd->nm", images_NTD, others_MTD) / images_NTD.shape[1]


def altered_copies(photos: Sequence[Image.Image]) -> list[Image.Image]:
    """What is not the subject and nearly looks like it: each photo in other colours, and with its halves exchanged."""
    return [altered for photo in photos for altered in (*(_turned(photo, turn) for turn in TURNS), _exchanged(photo))]


def _turned(photo: Image.Image, turn: int) -> Image.Image:
    hue, saturation, value = photo.convert("HSV").split()
    return Image.merge("HSV", (hue.point([(h + turn) % 256 for h in range(256)]), saturation, value)).convert("RGB")


def _exchanged(photo: Image.Image) -> Image.Image:
    return ImageOps.flip(photo.convert("RGB"))
