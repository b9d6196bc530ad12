"""The LoRA of a given rank that is nearest to a change of any kind, and what is lost on the way."""

from torch import Tensor
from torch.nn.functional import pad

from flux_lora.adapter.kinds import LayerDelta, LoHa, LoKr, LoRA, delta_of
from flux_lora.adapter.spectrum import Spectrum, of_kronecker, of_matrix, of_product


def nearest_lora(change: LayerDelta, rank: int, weight: Tensor | None = None) -> tuple[LoRA, float]:
    """The LoRA of this rank that is nearest to the change, and how far it is, relative to the change's size.

    The error is in Frobenius norm, 0.1 for a tenth of the change lost; alpha is the rank, so the scale is 1.
    """
    exact = as_lora(change)
    if exact is not None:
        spectrum = of_product(exact.up.double() * exact.scale, exact.down)
    elif isinstance(change, LoKr):
        one, other = change.factors
        spectrum = of_kronecker(one * change.scale, other, rank)
    else:
        return nearest_lora_of_matrix(delta_of(change, weight), rank)
    return lora_from_spectrum(spectrum, rank), _ratio(spectrum.values[rank:].norm(), spectrum.values.norm())


def nearest_lora_of_matrix(change: Tensor, rank: int) -> tuple[LoRA, float]:
    """The same for a change that is a whole matrix, OI."""
    spectrum = of_matrix(change, rank)
    near = (spectrum.left * spectrum.values) @ spectrum.right
    return lora_from_spectrum(spectrum, rank), _ratio((change - near).norm(), change.norm())


def _ratio(lost: Tensor, whole: Tensor) -> float:
    return (lost / whole).item() if whole else 0.0


def lora_from_spectrum(spectrum: Spectrum, rank: int) -> LoRA:
    """The strongest `rank` directions, each shared evenly by `down` and `up`; zeros where there are fewer."""
    root, wider = spectrum.values[:rank].sqrt(), max(0, rank - len(spectrum.values))
    up = (spectrum.left[:, :rank] * root).float()
    down = (root[:, None] * spectrum.right[:rank]).float()
    return LoRA(pad(down, (0, 0, 0, wider)).contiguous(), pad(up, (0, wider)).contiguous(), float(rank))


def as_lora(change: LayerDelta) -> LoRA | None:
    """The change as a LoRA, exactly, where it is one: a LoHa of rank R is a LoRA of rank R * R."""
    match change:
        case LoRA():
            return change
        case LoHa():
            up = change.w1_a.float()[:, :, None] * change.w2_a.float()[:, None, :]
            down = change.w1_b.float()[:, None, :] * change.w2_b.float()[None, :, :]
            return LoRA(down.flatten(0, 1), up.flatten(1, 2), change.scale * change.rank**2)
        case _:
            return None
