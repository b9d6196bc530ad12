"""The LoRA of a given rank that is nearest to a change of any kind, and what is lost on the way."""

from torch import Tensor
from torch.nn.functional import pad

from flux_lora.adapter.kinds import Change, Hadamard, Kronecker, Layer, delta_of
from flux_lora.adapter.spectrum import Spectrum, of_kronecker, of_matrix, of_product


def to_layer(change: Change, rank: int, weight: Tensor | None = None) -> tuple[Layer, float]:
    """The LoRA of this rank that is nearest to the change, and how far it is, relative to the change's size.

    The error is in Frobenius norm, 0.1 for a tenth of the change lost; alpha is the rank, so the scale is 1.
    """
    exact = product_of(change)
    if exact is not None:
        spectrum = of_product(exact.up.double() * exact.scale, exact.down)
    elif isinstance(change, Kronecker):
        one, other = change.factors
        spectrum = of_kronecker(one * change.scale, other, rank)
    else:
        return low_rank(delta_of(change, weight), rank)
    return layer_of(spectrum, rank), _ratio(spectrum.values[rank:].norm(), spectrum.values.norm())


def low_rank(change: Tensor, rank: int) -> tuple[Layer, float]:
    """The same for a change that is a whole matrix, OI."""
    spectrum = of_matrix(change, rank)
    near = (spectrum.left * spectrum.values) @ spectrum.right
    return layer_of(spectrum, rank), _ratio((change - near).norm(), change.norm())


def _ratio(lost: Tensor, whole: Tensor) -> float:
    return (lost / whole).item() if whole else 0.0


def layer_of(spectrum: Spectrum, rank: int) -> Layer:
    """The strongest `rank` directions, each shared evenly by `down` and `up`; zeros where there are fewer."""
    root, wider = spectrum.values[:rank].sqrt(), max(0, rank - len(spectrum.values))
    up = (spectrum.left[:, :rank] * root).float()
    down = (root[:, None] * spectrum.right[:rank]).float()
    return Layer(pad(down, (0, 0, 0, wider)).contiguous(), pad(up, (0, wider)).contiguous(), float(rank))


def product_of(change: Change) -> Layer | None:
    """The change as a LoRA, exactly, where it is one: a LoHa of rank R is a LoRA of rank R * R."""
    match change:
        case Layer():
            return change
        case Hadamard():
            up = change.w1_a.float()[:, :, None] * change.w2_a.float()[:, None, :]
            down = change.w1_b.float()[:, None, :] * change.w2_b.float()[None, :, :]
            return Layer(down.flatten(0, 1), up.flatten(1, 2), change.scale * change.rank**2)
        case _:
            return None
