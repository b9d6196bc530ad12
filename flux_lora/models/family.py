"""What the rest of the code knows of any model family: encoded text, and a velocity.

Shape letters: B batch, T text tokens, D text width, P pooled width, C channels, H W height and width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PromptEmbeds:
    """Captions as the transformer hears them. One caption is a batch of one."""

    t5: Tensor  # BTD
    pooled: Tensor  # BP

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "PromptEmbeds":
        """The same text elsewhere."""
        return PromptEmbeds(t5=self.t5.to(device, dtype), pooled=self.pooled.to(device, dtype))


Velocity = Callable[[Tensor, Tensor, PromptEmbeds], Tensor]
"""(noisy BCHW, time B, text) -> velocity BCHW"""


def stack_prompt_embeds(texts: Sequence[PromptEmbeds]) -> PromptEmbeds:
    """Several texts as one batch, in order."""
    return PromptEmbeds(t5=torch.cat([text.t5 for text in texts]), pooled=torch.cat([text.pooled for text in texts]))
