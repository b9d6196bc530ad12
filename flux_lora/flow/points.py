"""One training question on the straight path from data to noise, and its answer.

Shape letters: B batch, C channels, H W height and width.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from flux_lora.flow.randomness import generator_for
from flux_lora.flow.sigmas import Quantile, sigmas_at, systematic


@dataclass(frozen=True)
class FlowPoint:
    """One training question: from here, at this time, which way is the noise?"""

    noisy: Tensor  # BCHW, in the latents' dtype
    sigma: Tensor  # B, float32, in (0, 1)
    velocity: Tensor  # BCHW, float32, the answer: d noisy / d time

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "FlowPoint":
        """The same question elsewhere; sigma and the answer stay float32."""
        beside = self.noisy.is_pinned()
        return FlowPoint(
            noisy=self.noisy.to(device, dtype, non_blocking=beside),
            sigma=self.sigma.to(device, non_blocking=beside),
            velocity=self.velocity.to(device, non_blocking=beside),
        )

    def pinned(self) -> "FlowPoint":
        """The same in page-locked memory, from which a GPU copies beside its work."""
        return FlowPoint(self.noisy.pin_memory(), self.sigma.pin_memory(), self.velocity.pin_memory())


Draw = Callable[[Tensor, int], FlowPoint]
"""(latents BCHW, number of the batch) -> a question about them"""
Shift = Callable[[int, int], float]
"""(latent height, latent width) -> the shift of the sigmas of such images"""


def unshifted(_height: int, _width: int) -> float:
    """1 for every size."""
    return 1.0


def point_at(latents: Tensor, noise: Tensor, sigma: Tensor) -> FlowPoint:
    """The point at `time` on the line from the latents to the noise.

        noisy = (1 - time) * latents + time * noise        velocity = noise - latents

    Worked out in float32, so that bfloat16 latents do not blur the answer.
    """
    start, end = latents.float(), noise.float()
    sigma = sigma.to(device=latents.device, dtype=torch.float32)
    noisy = torch.lerp(start, end, sigma.view(-1, 1, 1, 1))
    return FlowPoint(noisy=noisy.to(latents.dtype), sigma=sigma, velocity=end - start)


def draw_point(latents: Tensor, sigma: Tensor, generator: Generator) -> FlowPoint:
    """A random question about these latents at B sigmas. The noise is drawn on the CPU, so every device sees the
    same."""
    noise = torch.randn(latents.shape, generator=generator).to(latents.device)
    return point_at(latents, noise, sigma)


def counted_draw(
    seed: int, quantile: Quantile, shift: Shift = unshifted, *, unshifted_share: float = 0.0, purpose: str = "flow"
) -> Draw:
    """Questions that depend on the seed and the batch's number alone, so that resuming changes nothing.

    Sigmas are drawn systematically: a window of steps meets every part of the path. `unshifted_share` of them are not
    shifted.
    """

    def draw(latents: Tensor, number: int) -> FlowPoint:
        generator, count = generator_for(seed, number, purpose), len(latents)
        even = systematic(number * count, count, generator)
        height, width = latents.shape[-2:]
        sigma = sigmas_at(even, quantile, shift(height, width), unshifted_share)
        return draw_point(latents, sigma, generator)

    return draw
