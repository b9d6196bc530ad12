"""How much of the subject is in an image: which of its kinds of places, in held-out photos, are found again in place.

What belongs to the subject is worked out, not asked for: a place of a held-out photo is the subject's own if it is
found again in most training photos, whose backgrounds differ, and in fewer of the base's images. So a background that
is alike is no likeness, and neither is what every thing of the class has. The photo's own places are laid over the
image wherever and in whatever size they fit best (see placement.py): parts in another order are another thing.

    found_t(image) = (match_t(image) - common_t) / (again_t - common_t), between 0 and 1
        common_t: the base's images, again_t: the training photos, each on average
    likeness = (mean over kinds of the mean of found - floor) / (ceiling - floor)
        floor: the base's class images; ceiling: the held-out photos, each laid over the others
    whole = mean over photos of the least over kinds of the mean of found, as a share of what held-out photos reach

Places of a photo that look alike are one kind, and kinds weigh alike: a cap counts as much as a body. So likeness asks
how many of the parts are there, and whole whether one is missing. Photos are compared as the base's VAE gives them
back, since renders come out of it: what that cannot hold is not asked for.
Shape letters: N M images, H held-out photos, T K places, J kinds, D features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from flux_lora.evaluate.features import GRID, Places
from flux_lora.evaluate.placement import Outline, coordinates

COMMON = 0.9
"""Quantile, over the base's images, of what they hold of a place anywhere, in the first look for the subject."""
OWN = 0.25
"""In that look a place is the subject's if it stands out so much, as a share of the one that stands out most."""
STEADY = 0.7
"""A place of the subject is found in three of four training photos so well, as a share of the place found best."""
APART = 0.2
"""And the base's images have, on average, so much less of it, as a share of the place found best."""
ALIKE = 0.8
"""Cosine from which two places of one photo are the same kind of place."""
SMALLEST_KIND = 3
"""Places; fewer are a border, or chance."""
MOST_OF_A_KIND = 24
"""Places of a kind that are looked for."""
RELIABLE = 0.5
"""A kind has to be found so well in three of four training photos."""
SURROUNDINGS = 2.2
"""How far around the subject's middle its places are looked for, in spreads."""
COARSE = 2
"""Places from one to the next in the first look for the subject."""
SMALLEST_SPAN = 0.1
"""Of floor to ceiling; less is noise."""
FAINTEST = 0.02
"""Cosine; a place that stands out less counts as standing out so much."""


@dataclass(frozen=True)
class Template:
    """The subject's own places in one held-out photo."""

    photo: int
    """Its number."""
    outline: Outline
    common: Tensor  # K
    again: Tensor  # K
    kinds: Tensor  # JK, rows sum to 1
    places: Tensor  # K, which of the photo's places these are

    def found(self, tokens_TD: Tensor, aspect: float) -> Tensor:
        """How well each kind is found where the whole fits best: J."""
        span_K = (self.again - self.common).clamp_min(FAINTEST)
        found_KL = (self.outline.laid_over(tokens_TD, aspect) - self.common[:, None]) / span_K[:, None]
        found_JL = self.kinds @ found_KL.clamp(0, 1)
        return found_JL[:, found_JL.mean(dim=0).argmax()]


@dataclass(frozen=True)
class Likeness:
    """How much of the subject is in each image."""

    share: Tensor  # N, 0 as in the base's class images, 1 as in the held-out photos, and above where it is more
    whole: Tensor  # N, the same of the kind of place that is found worst

    @property
    def closeness(self) -> Tensor:
        """N, 0 to 1: both together, for telling the subject from what nearly looks like it."""
        return (self.share.clamp(0, 1) + self.whole.clamp(0, 1)) / 2


@dataclass(frozen=True)
class Identity:
    """The subject in the held-out photos, and the scales of likeness."""

    templates: tuple[Template, ...]
    floor: float = 0.0
    ceiling: float = 1.0
    whole: float = 1.0

    @property
    def tells_apart(self) -> bool:
        """Whether the photos have something that the base's images of the class have not."""
        return self.ceiling - self.floor >= SMALLEST_SPAN

    def likeness(self, places: Places) -> Likeness:
        """Of each image."""
        if not self.templates:
            return Likeness(torch.zeros(len(places)), torch.zeros(len(places)))
        means_NH, worst_NH = _found(self.templates, places)
        share_N = (means_NH.mean(dim=1) - self.floor) / max(self.ceiling - self.floor, SMALLEST_SPAN)
        return Likeness(share_N, worst_NH.mean(dim=1) / max(self.whole, SMALLEST_SPAN))


def learn_identity(
    held_out: Places, training: Places, base: Places, of_class: slice, masks_HT: Tensor | None = None
) -> Identity:
    """From held-out and training photos, and all of the base's images, `of_class` those of the class.

    `masks_HT` is above 0 where a photo's mask shows the subject: nothing outside is its own.
    """
    found = [
        _template(held_out, number, training, base, None if masks_HT is None else masks_HT[number])
        for number in range(len(held_out))
    ]
    templates = tuple(template for template in found if template is not None)
    if not templates:
        return Identity((), ceiling=0.0)
    floor = float(_found(templates, base[of_class])[0].mean())
    means_NH, worst_NH = _found(templates, held_out)
    for column, template in enumerate(templates):
        means_NH[template.photo, column] = worst_NH[template.photo, column] = torch.nan
    return Identity(templates, floor, float(means_NH.nanmean()), float(worst_NH.nanmean()))


def _found(templates: Sequence[Template], places: Places) -> tuple[Tensor, Tensor]:
    """How well each template finds its kinds in each image: the mean, and the worst of them: NH, NH."""
    kinds = [[template.found(*image) for template in templates] for image in places]
    means = [[float(found_J.mean()) for found_J in of_image] for of_image in kinds]
    worst = [[float(found_J.min()) for found_J in of_image] for of_image in kinds]
    return torch.tensor(means), torch.tensor(worst)


def _template(held_out: Places, number: int, training: Places, base: Places, mask_T: Tensor | None) -> Template | None:
    """The subject's own places in a photo; None where nothing in it stands out.

    First they are looked for anywhere, which tells roughly where the subject is and how large. Laid over the other
    photos and the base's images, this rough outline says which places around it belong to it.
    """
    tokens_TD, aspect = held_out.one(number)
    at_T2 = coordinates(aspect)
    visible_T = torch.ones(len(tokens_TD), dtype=torch.bool) if mask_T is None else mask_T > 0
    rough_T, weights_T = _standing_out(tokens_TD, training, base, visible_T)
    if rough_T.sum() < SMALLEST_KIND:
        return None
    middle = (at_T2 * weights_T[:, None]).sum(dim=0)
    spread = float(((at_T2 - middle).square().sum(-1) * weights_T).sum().sqrt().clamp_min(1))
    rough = Outline(tokens_TD[rough_T], at_T2[rough_T] - middle, spread)
    near_T = ((at_T2 - middle).abs().amax(dim=-1) < SURROUNDINGS * spread) & visible_T
    around = Outline(tokens_TD[near_T], at_T2[near_T] - middle, spread)
    again_KN, common_KN = (_aligned(rough, weights_T[rough_T], around, images) for images in (training, base))
    again_K, common_K = again_KN.mean(dim=1), common_KN.mean(dim=1)
    steady_K = again_KN.quantile(0.25, dim=1)
    apart_K = again_K - common_K
    own_K = (steady_K > STEADY * steady_K.amax()) & (apart_K > APART * again_K.amax())
    if own_K.sum() < SMALLEST_KIND:
        return None
    found_KN = ((again_KN - common_K[:, None]) / apart_K.clamp_min(FAINTEST)[:, None]).clamp(0, 1)
    kinds_JK = kinds_of_places(around.tokens, own_K)
    reliable_J = (kinds_JK @ found_KN).quantile(0.25, dim=1) >= RELIABLE
    kinds_JK = kinds_JK[reliable_J] if reliable_J.any() else own_K[None] / own_K.sum()
    used_K = (kinds_JK > 0).any(dim=0)
    outline = Outline(around.tokens[used_K], around.offsets[used_K], spread)
    places = near_T.nonzero()[:, 0][used_K]
    return Template(number, outline, common_K[used_K], again_K[used_K], kinds_JK[:, used_K], places)


def _standing_out(tokens_TD: Tensor, training: Places, base: Places, visible_T: Tensor) -> tuple[Tensor, Tensor]:
    """Which places are found again anywhere in the training photos and not in the base's images, looked for coarsely;
    and weights that sum to 1, places that look alike sharing the weight of one."""
    coarse_T = torch.zeros(GRID, GRID, dtype=torch.bool)
    coarse_T[::COARSE, ::COARSE] = True
    chosen_T = coarse_T.flatten() & visible_T
    query_KD = with_neighbours(tokens_TD)[chosen_T]
    again_K = _matches(query_KD, training).mean(dim=1)
    apart_K = again_K - _matches(query_KD, base).quantile(COMMON, dim=1)
    own_K = apart_K > OWN * apart_K.amax().clamp_min(FAINTEST)
    alike_KK = query_KD @ query_KD.T > ALIKE
    weights_K = own_K / (alike_KK * own_K).sum(dim=1).clamp_min(1)
    rough_T, weights_T = torch.zeros(len(tokens_TD), dtype=torch.bool), torch.zeros(len(tokens_TD))
    rough_T[chosen_T], weights_T[chosen_T] = own_K, weights_K / weights_K.sum().clamp_min(1e-6)
    return rough_T, weights_T


def _matches(query_KD: Tensor, images: Places) -> Tensor:
    """The best cosine of each place among all places of each image: KN."""
    return torch.stack([(query_KD @ with_neighbours(tokens_TD).T).amax(dim=1) for tokens_TD, _ in images], dim=1)


def with_neighbours(tokens_TD: Tensor) -> Tensor:
    """Each place with those above, below, left and right of it, as one of unit length: T(5D)."""
    grid_1DGG = tokens_TD.T.unflatten(1, (GRID, GRID))[None]
    padded_DGG = pad(grid_1DGG, (1, 1, 1, 1), mode="replicate")[0]
    beside = (padded_DGG[:, :-2, 1:-1], padded_DGG[:, 2:, 1:-1], padded_DGG[:, 1:-1, :-2], padded_DGG[:, 1:-1, 2:])
    return torch.cat([grid_1DGG[0], *beside]).flatten(1).T / 5**0.5


def _aligned(rough: Outline, weights_K: Tensor, around: Outline, images: Places) -> Tensor:
    """The match of each place around, where the rough outline fits each image best: KN."""
    columns = []
    for image in images:
        fit_L = weights_K @ rough.laid_over(*image).clamp_min(0)
        columns.append(around.laid_at(*image, int(fit_L.argmax())))
    return torch.stack(columns, dim=1).clamp_min(0)


def kinds_of_places(tokens_KD: Tensor, own_K: Tensor) -> Tensor:
    """The places that are the subject's own, by kind: JK, rows sum to 1, the largest kind first."""
    left_K, alike_KK, rows = own_K.clone(), tokens_KD @ tokens_KD.T > ALIKE, []
    while left_K.any():
        middle = int(((alike_KK & left_K).sum(dim=1) * left_K).argmax())
        kind_K = alike_KK[middle] & left_K
        if kind_K.sum() < SMALLEST_KIND:
            break
        rows.append(_spread_over(kind_K))
        left_K = left_K & ~kind_K
    return torch.stack(rows) if rows else torch.zeros(0, len(tokens_KD))


def _spread_over(kind_K: Tensor) -> Tensor:
    """Equal weights for MOST_OF_A_KIND of its places, evenly chosen: more say the same again. K, sums to 1."""
    places = kind_K.nonzero()[:, 0]
    chosen = places[torch.linspace(0, len(places) - 1, min(len(places), MOST_OF_A_KIND)).round().long()]
    weights_K = torch.zeros(len(kind_K))
    weights_K[chosen] = 1 / len(chosen)
    return weights_K


def layout_similarity(images_NTD: Tensor, others_MTD: Tensor) -> Tensor:
    """Mean cosine of places that stand at the same spot: NM. 1 is the same image."""
    return torch.einsum("ntd,mtd->nm", images_NTD, others_MTD) / images_NTD.shape[1]
