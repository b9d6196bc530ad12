"""diffusers' classes of FLUX.3, which came with 0.42: every other family runs on older ones."""

import diffusers

from flux_lora.errors import ModelError

try:
    from diffusers import ClassifierFreeGuidance as ClassifierFreeGuidance
    from diffusers import Flux3ModularPipeline as Flux3ModularPipeline
    from diffusers import Flux3Transformer2DModel as Flux3Transformer2DModel
    from diffusers.modular_pipelines.flux3.modular_blocks_flux3 import (
        Flux3AutoCoreDenoiseStep as Flux3AutoCoreDenoiseStep,
    )
    from diffusers.modular_pipelines.flux3.modular_blocks_flux3_distilled import (
        Flux3DistilledAutoCoreDenoiseStep as Flux3DistilledAutoCoreDenoiseStep,
    )
except ImportError as error:
    raise ModelError(
        f"FLUX.3 needs diffusers 0.42 or newer, and {diffusers.__version__} is installed",
        fix="run: pip install --upgrade diffusers",
    ) from error
