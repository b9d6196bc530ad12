"""Compiled blocks answer as eager ones do, in few graphs whatever their number; else they are left off."""

import shutil
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor, nn

from flux_lora.adapter.attach import attach, trainable_layers
from flux_lora.config.choices import AdapterTargets, Quantization
from flux_lora.models.compiled import blocks_of, compared, compiled_blocks
from flux_lora.models.family import PromptEmbeds
from flux_lora.models.flux1.load import load_transformer
from flux_lora.models.flux1.velocity import velocity_of
from flux_lora.models.mini import MINI
from tests.tiny import flux1_layers

TOKENS = 8


@pytest.fixture(autouse=True)
def fresh() -> None:
    torch._dynamo.reset()


def mini(how: Quantization = Quantization.none) -> FluxTransformer2DModel:
    """With a LoRA that acts, and checkpointing."""
    made = load_transformer(MINI, torch.float32, quantize=how)
    layers = flux1_layers(made, AdapterTargets.attention_mlp)
    attach(made, layers, rank=2, alpha=2.0, generator=torch.Generator().manual_seed(0))
    for layer in trainable_layers(made).values():
        nn.init.normal_(layer.held.up, std=0.02, generator=torch.Generator().manual_seed(1))
    made.enable_gradient_checkpointing()
    return made


def question(side: int, count: int = 1) -> tuple[Tensor, Tensor, PromptEmbeds]:
    generator = torch.Generator().manual_seed(side)
    embeds = {"t5": torch.randn(count, TOKENS, 128, generator=generator), "pooled": torch.randn(count, 128)}
    return torch.randn(count, 16, side, side, generator=generator), torch.full((count,), 0.6), PromptEmbeds(embeds)


def attempt_of(transformer: FluxTransformer2DModel, side: int = 8) -> Callable[[], tuple[Tensor, Sequence[Tensor]]]:
    predict, asked = velocity_of(transformer, guidance=1.0), question(side)
    trained = [each for layer in trainable_layers(transformer).values() for each in layer.parameters]

    def attempt() -> tuple[Tensor, Sequence[Tensor]]:
        answer = predict(*asked)
        return answer.detach(), torch.autograd.grad(answer.square().mean(), trained)

    return attempt


class Counting:
    """A backend that runs graphs as they are, and counts them."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: Any, _inputs: Any) -> Any:
        self.graphs += 1
        return graph.forward


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", [Quantization.none, Quantization.int8, Quantization.nf4])
def test_blocks_are_compiled_whole_in_as_many_graphs_as_there_are_variants_and_not_blocks(how: Quantization):
    transformer, backend, said = mini(how), Counting(), []
    attempt = attempt_of(transformer)
    before = attempt()
    assert len(blocks_of(transformer)) == 7
    with compiled_blocks(transformer, attempt, said.append, backend=backend):
        assert said == ["compile: 7 blocks, 0.00% from eager, gradients at a cosine of 1.0000"]
        after = attempt()
        assert torch.equal(before[0], after[0]) and all(map(torch.equal, before[1], after[1]))
        assert backend.graphs <= 6
        for side in (12, 16, 20):
            attempt_of(transformer, side)()
            with torch.no_grad():
                velocity_of(transformer, guidance=3.5)(*question(side, 2))
        assert backend.graphs <= 24
    assert not any(block._compiled_call_impl for block in blocks_of(transformer))
    made = backend.graphs
    attempt_of(transformer, 24)()
    assert backend.graphs == made, "after it, blocks are eager again"


@pytest.mark.filterwarnings("ignore")
def test_a_backend_that_answers_something_else_is_left_off_and_training_goes_on_eager():
    transformer, said = mini(), []

    def wrong(graph: Any, _inputs: Any) -> Any:
        return lambda *inputs: tuple(1.2 * each for each in graph.forward(*inputs))

    with compiled_blocks(transformer, attempt_of(transformer), said.append, backend=wrong):
        assert not any(block._compiled_call_impl for block in blocks_of(transformer))
    assert said[0].startswith("compile: left off, for answers are ")


@pytest.mark.filterwarnings("ignore")
def test_a_backend_that_does_not_work_here_is_left_off_with_its_reason():
    transformer, said = mini(), []

    def broken(_graph: Any, _inputs: Any) -> Any:
        raise RuntimeError("no compiler was found")

    with compiled_blocks(transformer, attempt_of(transformer), said.append, backend=broken):
        assert not any(block._compiled_call_impl for block in blocks_of(transformer))
    assert said[0].startswith("compile: left off, it does not work here: ") and "no compiler was found" in said[0]


@pytest.mark.parametrize(
    ("factor", "noise", "same"), [(1.0, 0.0, True), (1.01, 0.01, True), (1.05, 0.0, False), (1.0, 0.3, False)]
)
def test_what_counts_as_the_same(factor: float, noise: float, same: bool):
    answer, gradients = torch.randn(64, generator=torch.Generator().manual_seed(0)), [torch.randn(50), torch.randn(30)]
    moved = [each + noise * torch.randn(each.shape) for each in gradients]
    assert compared((answer, gradients), (factor * answer, moved)).same is same


def test_numbers_that_are_not_finite_are_never_the_same():
    answer, gradients = torch.ones(4), [torch.ones(3)]
    assert not compared((answer, gradients), (answer * float("nan"), gradients)).same
    assert not compared((answer, gradients), (answer, [gradients[0] * float("nan")])).same


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile makes C++ on a CPU, and no compiler is here")
def test_torchs_own_compiler_is_near_eager_on_a_cpu():
    transformer, said = mini(Quantization.int8), []
    with compiled_blocks(transformer, attempt_of(transformer), said.append):
        assert said[0].startswith("compile: 7 blocks, ")
