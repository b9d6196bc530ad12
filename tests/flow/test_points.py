"""The path, and the velocity along it."""

import torch

from flux_lora.flow.points import counted_draw, point_at
from flux_lora.flow.randomness import generator_for
from flux_lora.flow.sigmas import logit_normal, shifted, uniform

WIDE = (3, 16, 4, 6)


def latents_and_noise() -> tuple[torch.Tensor, torch.Tensor]:
    generator = generator_for(0, 0, "test")
    return torch.randn(WIDE, generator=generator), torch.randn(WIDE, generator=generator)


def test_the_path_starts_at_the_data_and_ends_at_the_noise():
    latents, noise = latents_and_noise()
    torch.testing.assert_close(point_at(latents, noise, torch.zeros(3)).noisy, latents)
    torch.testing.assert_close(point_at(latents, noise, torch.ones(3)).noisy, noise)


def test_walking_the_velocity_backwards_from_the_noisy_point_returns_the_data():
    latents, noise = latents_and_noise()
    point = point_at(latents, noise, torch.tensor([0.1, 0.5, 0.9]))
    walked = point.noisy - point.sigma.view(-1, 1, 1, 1) * point.velocity
    torch.testing.assert_close(walked, latents, atol=1e-5, rtol=0)


def test_the_velocity_is_how_fast_the_noisy_point_moves_with_time():
    latents, noise = latents_and_noise()
    early, late = (point_at(latents, noise, torch.full((3,), time)) for time in (0.25, 0.75))
    torch.testing.assert_close((late.noisy - early.noisy) / 0.5, early.velocity, atol=1e-5, rtol=0)


def test_bfloat16_latents_do_not_blur_the_answer():
    latents, noise = latents_and_noise()
    point = point_at(latents.bfloat16(), noise, torch.full((3,), 0.3))
    assert point.noisy.dtype == torch.bfloat16
    assert point.velocity.dtype == point.sigma.dtype == torch.float32
    torch.testing.assert_close(point.velocity, noise - latents.bfloat16().float())


def test_a_question_is_the_same_for_the_same_number_and_another_for_another():
    latents, _ = latents_and_noise()
    draw = counted_draw(0, logit_normal())
    first, again, other = (draw(latents, number) for number in (5, 5, 6))
    assert torch.equal(first.noisy, again.noisy) and torch.equal(first.sigma, again.sigma)
    assert not torch.equal(first.velocity, other.velocity) and not torch.equal(first.sigma, other.sigma)
    assert not torch.equal(counted_draw(0, logit_normal(), purpose="reminder")(latents, 5).noisy, first.noisy)


def test_each_image_of_a_batch_gets_its_own_sigma():
    latents, _ = latents_and_noise()
    assert counted_draw(0, logit_normal())(latents, 0).sigma.unique().numel() == 3


def test_a_shift_is_that_of_the_latents_size():
    latents, _ = latents_and_noise()
    sizes: list[tuple[int, int]] = []

    def shift(height: int, width: int) -> float:
        sizes.append((height, width))
        return 3.0

    moved = counted_draw(0, uniform(), shift)(latents, 0).sigma
    plain = counted_draw(0, uniform())(latents, 0).sigma
    torch.testing.assert_close(moved, shifted(plain, 3.0))
    assert sizes == [(4, 6)]
