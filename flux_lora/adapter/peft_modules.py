"""One layer's delta inside peft's module for it: what to inject, and the parameters that hold the delta.

Shape letters: B images, N tokens, R rank, I inputs and O outputs of the linear layer.
"""

import re
from collections.abc import Mapping
from typing import cast

import torch
from peft import LoHaConfig, LoKrConfig, LoraConfig
from peft.tuners.loha import LoHaLayer
from peft.tuners.lokr import LoKrLayer
from peft.tuners.lora import LoraLayer
from peft.tuners.lora.variants import DoraLinearVariant
from torch import Tensor, nn

from flux_lora.adapter.layer_types import (
    RESIZE_WITH_BASE,
    DoRA,
    LayerDelta,
    LoHa,
    LoKr,
    LoRA,
    map_tensors,
    tensors_in,
    type_name,
    type_with_article,
)
from flux_lora.errors import AdapterFileError
from flux_lora.models.frozen_linear import FrozenLinear

PEFT_NAME = "default"
"""What peft calls the adapter. There is only ever one."""
PeftModule = LoraLayer | LoKrLayer | LoHaLayer


class _DoraMagnitude(nn.Module):
    """peft's DoRA with two differences: the lengths are float32 whatever the base computes in, so that a fresh DoRA is
    the base to the last bit; and the sum of weight and LoRA, OI, is never made, so any base will do, quantised or not.

    The length of a row of the sum, w + s b A with w and b rows of W and B, without the sum:
    |w + s b A|^2 = |w|^2 + 2 s b (A w) + s^2 b (A A') b'
    As in peft and the paper (Liu et al., "DoRA", 2024, section 4.3) no gradient goes through the length.
    """

    row_squares: Tensor  # O

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("row_squares", row_squares(base), persistent=False)
        self.weight = nn.Parameter(self.row_squares.sqrt())  # O, float32
        self.strength = 1.0

    def forward(
        self, x: Tensor, *, lora_A: nn.Linear, lora_B: nn.Linear, scaling: float, base_layer: nn.Linear, **given: object
    ) -> Tensor:
        """What is added to the base's output, BNO; peft's names. `given` has that output as base_result."""
        bias, base_BNO = base_layer.bias, cast(Tensor, given["base_result"])
        unbiased_BNO = base_BNO if bias is None else base_BNO - bias
        factor_O = self.weight / self._lengths(lora_A.weight, lora_B.weight, scaling, base_layer)
        lora_BNO = lora_B(lora_A(x)) * scaling
        delta_BNO = (factor_O - 1).to(base_BNO.dtype) * unbiased_BNO + factor_O.to(base_BNO.dtype) * lora_BNO
        return delta_BNO * self.strength

    @torch.no_grad()
    def _lengths(self, down_RI: Tensor, up_OR: Tensor, scale: float, base: nn.Linear) -> Tensor:
        """Of the rows of weight and LoRA together: O, float32."""
        products_RO = base(down_RI) if base.bias is None else base(down_RI) - base.bias
        up_OR, down_RI = up_OR.float(), down_RI.float()
        mixed_O = (up_OR * products_RO.float().T).sum(dim=1)
        own_O = (up_OR @ (down_RI @ down_RI.T) * up_OR).sum(dim=1)
        return (self.row_squares + 2 * scale * mixed_O + scale**2 * own_O).clamp_min(0).sqrt()


def whole_weight(linear: nn.Linear) -> Tensor:
    """The weight that a frozen linear layer stands for: OI, float32."""
    if isinstance(linear, FrozenLinear):
        return linear.dequantised(torch.float32)
    return linear.weight.detach().float()


def row_squares(linear: nn.Linear) -> Tensor:
    """The squared lengths of a weight's rows: O, float32."""
    return whole_weight(linear).square().sum(dim=1)


PeftConfig = LoraConfig | LoKrConfig | LoHaConfig


def peft_config_type(delta: LayerDelta) -> type[PeftConfig]:
    """Of the layers that are injected together."""
    match delta:
        case LoKr():
            return LoKrConfig
        case LoHa():
            return LoHaConfig
        case _:
            return LoraConfig


def peft_config(deltas: Mapping[str, LayerDelta]) -> PeftConfig:
    """What makes peft wrap these layers, all of one config type, in modules of their ranks."""
    ranks = {name: rank_of(delta) for name, delta in deltas.items()}
    return peft_config_type(next(iter(deltas.values())))(
        r=max(ranks.values()),
        target_modules="|".join(re.escape(name) for name in ranks),
        rank_pattern={f"^{re.escape(name)}": rank for name, rank in ranks.items()},
    )


def rank_of(delta: LayerDelta) -> int:
    """Rank as peft counts it, 1 for a LoKr of two whole factors; AdapterFileError for what peft cannot hold."""
    match delta:
        case LoRA() | LoHa():
            return delta.rank
        case DoRA(per_input=False):
            return delta.lora.rank
        case LoKr():
            return max(1, delta.rank)
        case _:
            raise AdapterFileError(
                f"{type_with_article(delta)} {'by inputs ' * isinstance(delta, DoRA)}cannot be put into a model here",
                fix=RESIZE_WITH_BASE,
            )


def make_room(module: PeftModule, delta: LayerDelta, dtype: torch.dtype) -> None:
    """Give the module new parameters of the delta's shapes, in this dtype, for a delta of its type."""
    base = cast(nn.Linear, module.get_base_layer())

    def parameter(tensor: Tensor) -> nn.Parameter:
        return nn.Parameter(torch.empty(tensor.shape, dtype=dtype, device=base.weight.device))

    if not isinstance(module, LoraLayer):
        for place, part in zip(_places(module), _parts(delta), strict=True):
            place.clear()
            if part is not None:
                place[PEFT_NAME] = parameter(part)
        return
    lora = map_tensors(delta.lora if isinstance(delta, DoRA) else delta, parameter)
    assert isinstance(lora, LoRA), "peft's module was chosen for this delta"
    module.lora_A[PEFT_NAME].weight, module.lora_B[PEFT_NAME].weight = lora.down, lora.up
    if isinstance(delta, DoRA):
        module.lora_magnitude_vector[PEFT_NAME] = _DoraMagnitude(base)
        module.lora_variant[PEFT_NAME] = DoraLinearVariant()


def held_delta(module: PeftModule) -> LayerDelta:
    """The delta whose tensors are the module's parameters, at the alpha of strength 1."""
    match module:
        case LoKrLayer():
            return LoKr(
                *(place.get(PEFT_NAME, None) for place in _places(module)), alpha=float(module.alpha[PEFT_NAME])
            )
        case LoHaLayer():
            return LoHa(*(place[PEFT_NAME] for place in _places(module)), alpha=float(module.alpha[PEFT_NAME]))
        case _:
            down, up = module.lora_A[PEFT_NAME].weight, module.lora_B[PEFT_NAME].weight
            assert isinstance(down, nn.Parameter) and isinstance(up, nn.Parameter), "peft's LoRA is two linear layers"
            lora = LoRA(down, up, float(module.lora_alpha[PEFT_NAME]))
            return DoRA(lora, _magnitude(module).weight) if PEFT_NAME in module.lora_magnitude_vector else lora


def set_alpha(module: PeftModule, delta: LayerDelta) -> None:
    """Act with the alpha of this delta, at strength 1."""
    match delta:
        case LoKr() | LoHa():
            assert isinstance(module, LoKrLayer | LoHaLayer), "it was made for this delta"
            # LyCORIS does not scale a LoKr of two whole factors, and peft does
            module.alpha[PEFT_NAME] = delta.alpha if rank_of(delta) == delta.rank else 1.0
            module.r[PEFT_NAME] = rank_of(delta)
        case _:
            assert isinstance(module, LoraLayer), "it was made for this delta"
            module.lora_alpha[PEFT_NAME] = delta.lora.alpha if isinstance(delta, DoRA) else cast(LoRA, delta).alpha
            module.set_scale(PEFT_NAME, 1.0)
    set_module_strength(module, 1.0)


def set_module_strength(module: PeftModule, value: float) -> None:
    """How much of the delta acts. A DoRA's is not linear in its LoRA, so it is its whole delta that is multiplied."""
    if isinstance(module, LoraLayer) and PEFT_NAME in module.lora_magnitude_vector:
        _magnitude(module).strength = value
    else:
        module.set_scale(PEFT_NAME, value)


def strength_of(module: PeftModule) -> float:
    """As it was set."""
    if isinstance(module, LoraLayer) and PEFT_NAME in module.lora_magnitude_vector:
        return _magnitude(module).strength
    alpha = module.lora_alpha if isinstance(module, LoraLayer) else module.alpha
    return module.scaling[PEFT_NAME] * module.r[PEFT_NAME] / alpha[PEFT_NAME]


def structure_of(delta: LayerDelta) -> tuple[str, tuple[int, ...]]:
    """What two deltas have in common that fit into the same parameters: type, and all sides of all tensors."""
    return type_name(delta), tuple(side for tensor in tensors_in(delta) for side in (*tensor.shape, 0))


def _magnitude(module: LoraLayer) -> _DoraMagnitude:
    return cast(_DoraMagnitude, module.lora_magnitude_vector[PEFT_NAME])


def _places(module: LoKrLayer | LoHaLayer) -> tuple[nn.ParameterDict, ...]:
    """In the order of the fields of LoKr and LoHa."""
    if isinstance(module, LoHaLayer):
        return module.hada_w1_a, module.hada_w1_b, module.hada_w2_a, module.hada_w2_b
    first, second = (module.lokr_w1, module.lokr_w1_a, module.lokr_w1_b), (module.lokr_w2, module.lokr_w2_a)
    return *first, *second, module.lokr_w2_b


def _parts(delta: LayerDelta) -> tuple[Tensor | None, ...]:
    """The tensors of a LoKr or LoHa in the order of their fields."""
    if isinstance(delta, LoKr):
        return delta.w1, delta.w1_a, delta.w1_b, delta.w2, delta.w2_a, delta.w2_b
    return tensors_in(delta)
