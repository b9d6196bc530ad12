"""A second model family, as small as one can be: two linear layers, one text tensor, no embedded guidance.

It shares nothing with FLUX.1 but the names of its two layers, so that the dialects have a place for them.

Shape letters: B batch, C latent channels, H W latent height and width, T text tokens, D text width.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from flux_lora.adapter.attach import load_into
from flux_lora.adapter.files import read_adapter
from flux_lora.models.family import (
    CaptionTokenizer,
    Encoders,
    LatentDistribution,
    ModelSource,
    Pipeline,
    Placement,
    PromptEmbeds,
    SampleRequest,
    Shapes,
    Velocity,
)
from flux_lora.models.programs import ComfyParts, Programs, Release

STRIDE, CHANNELS, TEXT_TOKENS, TEXT_WIDTH = 4, 48, 4, 64
IMAGE_LAYER, TEXT_LAYER = "transformer_blocks.0.attn.to_out.0", "transformer_blocks.0.ff.net.2"
WEIGHTS = Path("transformer") / "diffusion_pytorch_model.safetensors"


class TwoLayers(nn.Module):
    """velocity = image layer(noisy) + text layer(mean of the caption's tokens)."""

    def __init__(self) -> None:
        super().__init__()
        block = nn.Module()
        block.attn, block.ff = nn.Module(), nn.Module()
        block.attn.to_out = nn.ModuleList([nn.Linear(CHANNELS, CHANNELS, bias=False)])
        block.ff.net = nn.ModuleList([nn.Identity(), nn.Identity(), nn.Linear(TEXT_WIDTH, CHANNELS, bias=False)])
        self.transformer_blocks = nn.ModuleList([block])

    def forward(self, noisy: Tensor, caption: Tensor) -> Tensor:
        """noisy BCHW, caption BTD -> BCHW."""
        block = self.transformer_blocks[0]
        image = block.attn.to_out[0](noisy.movedim(1, -1))
        return (image + block.ff.net[2](caption.mean(1))[:, None, None]).movedim(-1, 1)


def write_dummy_base(folder: Path) -> Path:
    """A base of this family on the disk."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = TwoLayers()
    (folder / WEIGHTS).parent.mkdir(parents=True)
    save_file(model.state_dict(), folder / WEIGHTS)
    (folder / "transformer" / "config.json").write_text("{}")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "DummyPipeline"}))
    return folder


@dataclass(frozen=True)
class DummyFamily:
    """See flux_lora.models.family.ModelFamily."""

    name: str = "dummy"
    pixels_per_latent: int = STRIDE
    pixels_per_token: int = STRIDE
    modulation: str = ""
    unused_in_training: str = ""
    uses_cfg: bool = True
    trained_instead: str = ""
    most_references: int = 0
    layer_groups: Mapping[str, str] = field(
        default_factory=lambda: dict.fromkeys(("attention", "attention_mlp", "blocks_all"), r"transformer_blocks\..+")
    )

    programs: Programs = Programs(
        diffusers_pipeline="DummyPipeline",
        comfy=ComfyParts(
            text_encoders=("words.safetensors", "more_words.safetensors"),
            text_type="flux",
            text_tokens=TEXT_TOKENS,
            vae="dummy_vae.safetensors",
            latent_node="EmptySD3LatentImage",
        ),
        implementation="",
        sd_scripts="",
        releases=(),
    )

    def release_like(self, name: str) -> Release:
        return Release(name=name, hub="", comfy="", architecture="dummy", licence="", shifts_sigmas=False)

    def adapted_modules(self) -> Collection[str]:
        return self.linear_shapes()

    def linear_shapes(self) -> Shapes:
        return {IMAGE_LAYER: (CHANNELS, CHANNELS), TEXT_LAYER: (CHANNELS, TEXT_WIDTH)}

    def recognises(self, source: ModelSource) -> bool:
        return "DummyPipeline" in (Path(source.path) / "model_index.json").read_text()

    def transformer_place(self, source: ModelSource) -> Path:
        return Path(source.path) / "transformer"

    def load_tokenizers(self, source: ModelSource) -> tuple[CaptionTokenizer, ...]:  # noqa: ARG002
        return ()

    def encoders(
        self,
        source: ModelSource,  # noqa: ARG002
        *,
        device: torch.device,  # noqa: ARG002
        text_device: torch.device,  # noqa: ARG002
        dtype: torch.dtype,  # noqa: ARG002
    ) -> Encoders:
        def encode_image(pixels: Tensor) -> LatentDistribution:
            latents = pixel_unshuffle(pixels, STRIDE)
            return LatentDistribution(latents, torch.zeros_like(latents))

        def encode_caption(caption: str) -> PromptEmbeds:
            generator = Generator().manual_seed(int(sha256(caption.encode()).hexdigest()[:8], 16))
            return PromptEmbeds({"words": torch.randn(1, TEXT_TOKENS, TEXT_WIDTH, generator=generator)})

        return Encoders("dummy vae", lambda: encode_image, "dummy words", lambda: encode_caption, STRIDE)

    def load_transformer(self, source: ModelSource, placement: Placement) -> nn.Module:
        model = TwoLayers()
        model.load_state_dict(load_file(Path(source.path) / WEIGHTS))
        return model.to(placement.device, placement.dtype).requires_grad_(False)

    def load_pipeline(self, source: ModelSource, placement: Placement) -> Pipeline:
        return Pipeline(self, self.load_transformer(source, placement), nn.Identity(), None)

    def checkpoint_activations(self, transformer: nn.Module) -> None:
        pass

    def velocity(self, transformer: nn.Module, *, guidance: float) -> Velocity:  # noqa: ARG002
        def velocity(
            noisy: Tensor, sigma: Tensor, prompt_embeds: PromptEmbeds, /, *, references: Sequence[Tensor] = ()
        ) -> Tensor:
            assert not references and sigma.shape == noisy.shape[:1]
            return transformer(noisy, prompt_embeds["words"])

        return velocity

    def training_shift(self, scheduler: object, *, width: int, height: int) -> float:  # noqa: ARG002
        return 1.0

    def sampling_shift(self, scheduler: object, *, width: int, height: int, steps: int) -> float:  # noqa: ARG002
        return 2.0

    @torch.no_grad()
    def sample(
        self,
        pipeline: Pipeline,
        request: SampleRequest,
        *,
        size: tuple[int, int],
        steps: int,
        guidance: float,
    ) -> Tensor:
        assert not request.references, "it takes none"
        negative = pipeline.negative
        assert negative is not None and len(negative) == 1, "it uses real guidance, against the empty prompt"
        width, height = size
        shape = (CHANNELS, height // STRIDE, width // STRIDE)
        latents = torch.stack([torch.randn(shape, generator=Generator().manual_seed(seed)) for seed in request.seeds])
        for _ in range(steps):
            with_prompt = pipeline.transformer(latents, request.prompt_embeds["words"])
            without = pipeline.transformer(latents, negative["words"])
            latents = latents - (without + guidance * (with_prompt - without)) / steps
        return latents

    def decode(self, vae: nn.Module, latents: Tensor) -> list[Image.Image]:  # noqa: ARG002
        pixels = ((pixel_shuffle(latents, STRIDE).clamp(-1, 1) + 1) * 127.5).byte()
        return [Image.fromarray(one.movedim(0, -1).numpy()) for one in pixels]

    def weightless_transformer(self) -> nn.Module:
        with torch.device("meta"):
            return TwoLayers()

    def loads_in_diffusers(self, dialect: str, names: Collection[str], shapes: Shapes) -> bool:  # noqa: ARG002
        return all(name in shapes for name in names)

    def load_lora_file(self, transformer: nn.Module, file: Path, adapter_name: str) -> Mapping[str, Tensor]:  # noqa: ARG002
        load_into(transformer, read_adapter(file))
        return load_file(file)

    @torch.no_grad()
    def velocity_at_fixed_point(self, transformer: nn.Module) -> Tensor:
        generator = Generator().manual_seed(0)
        noisy = torch.randn(1, CHANNELS, 4, 4, generator=generator)
        return transformer(noisy, torch.randn(1, TEXT_TOKENS, TEXT_WIDTH, generator=generator))
