"""The ComfyUI nodes of a FLUX workflow, as data: sockets, widgets, outputs.

Read from ComfyUI 0.3.64 (commit a125cd84): nodes.py and comfy_extras/nodes_{cond,custom_sampler,flux,
model_advanced,sd3}.py; edit_model.py of a later one (7fc298d0); CLIPLoader, CFGGuider and the nodes of FLUX.2
and 3 as its templates of 2026 have them.
A socket is filled by another node's output of the same type; a widget holds a value. Widgets stand
in the order of the node's own definition, because a saved canvas lists their values by place and
not by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass

Value = str | int | float

LARGEST_SIDE = 16384
LARGEST_SEED = 0xFFFFFFFFFFFFFFFF
FIXED = "fixed"
"""control_after_generate, which a canvas lists as a value behind the seed's own."""
AFTER_SEED = (FIXED, "increment", "decrement", "randomize")


@dataclass(frozen=True)
class Socket:
    """An input that another node's output fills."""

    name: str
    type: str


@dataclass(frozen=True)
class IntWidget:
    """A widget that holds a whole number."""

    name: str
    low: int
    high: int
    seeds: bool = False


@dataclass(frozen=True)
class FloatWidget:
    """A widget that holds a number."""

    name: str
    low: float
    high: float


@dataclass(frozen=True)
class TextWidget:
    """A widget that holds text."""

    name: str


@dataclass(frozen=True)
class ChoiceWidget:
    """A widget that holds one of a list. Names of the user's own model files are known to ComfyUI alone."""

    name: str
    among: tuple[str, ...] = ()
    optional: bool = False


Widget = IntWidget | FloatWidget | TextWidget | ChoiceWidget


@dataclass(frozen=True)
class NodeType:
    """Inputs of a node type, and the types of its outputs."""

    sockets: tuple[Socket, ...] = ()
    widgets: tuple[Widget, ...] = ()
    gives: tuple[str, ...] = ()
    ends: bool = False
    """An output node (OUTPUT_NODE in ComfyUI): a workflow without one does nothing."""


WEIGHTS = ("default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2")
SIDES = (IntWidget("width", 16, LARGEST_SIDE), IntWidget("height", 16, LARGEST_SIDE))
SCHEDULERS = (
    "simple",
    "sgm_uniform",
    "karras",
    "exponential",
    "ddim_uniform",
    "beta",
    "normal",
    "linear_quadratic",
    "kl_optimal",
)

NODES: Mapping[str, NodeType] = {
    "UNETLoader": NodeType(
        widgets=(ChoiceWidget("unet_name"), ChoiceWidget("weight_dtype", WEIGHTS)), gives=("MODEL",)
    ),
    "DualCLIPLoader": NodeType(
        widgets=(
            ChoiceWidget("clip_name1"),
            ChoiceWidget("clip_name2"),
            ChoiceWidget("type", ("sdxl", "sd3", "flux", "hunyuan_video", "hidream", "hunyuan_image")),
            ChoiceWidget("device", ("default", "cpu"), optional=True),
        ),
        gives=("CLIP",),
    ),
    "CLIPLoader": NodeType(
        widgets=(
            ChoiceWidget("clip_name"),
            ChoiceWidget("type", ("flux2", "flux3")),
            ChoiceWidget("device", ("default", "cpu"), optional=True),
        ),
        gives=("CLIP",),
    ),
    "VAELoader": NodeType(widgets=(ChoiceWidget("vae_name"),), gives=("VAE",)),
    "LoraLoaderModelOnly": NodeType(
        sockets=(Socket("model", "MODEL"),),
        widgets=(ChoiceWidget("lora_name"), FloatWidget("strength_model", -100.0, 100.0)),
        gives=("MODEL",),
    ),
    "ModelSamplingFlux": NodeType(
        sockets=(Socket("model", "MODEL"),),
        widgets=(FloatWidget("max_shift", 0.0, 100.0), FloatWidget("base_shift", 0.0, 100.0), *SIDES),
        gives=("MODEL",),
    ),
    "T5TokenizerOptions": NodeType(
        sockets=(Socket("clip", "CLIP"),),
        widgets=(IntWidget("min_padding", 0, 10000), IntWidget("min_length", 0, 10000)),
        gives=("CLIP",),
    ),
    "CLIPTextEncode": NodeType(
        sockets=(Socket("clip", "CLIP"),), widgets=(TextWidget("text"),), gives=("CONDITIONING",)
    ),
    "FluxGuidance": NodeType(
        sockets=(Socket("conditioning", "CONDITIONING"),),
        widgets=(FloatWidget("guidance", 0.0, 100.0),),
        gives=("CONDITIONING",),
    ),
    "BasicGuider": NodeType(
        sockets=(Socket("model", "MODEL"), Socket("conditioning", "CONDITIONING")),
        gives=("GUIDER",),
    ),
    "CFGGuider": NodeType(
        sockets=(
            Socket("model", "MODEL"),
            Socket("positive", "CONDITIONING"),
            Socket("negative", "CONDITIONING"),
        ),
        widgets=(FloatWidget("cfg", 0.0, 100.0),),
        gives=("GUIDER",),
    ),
    "RandomNoise": NodeType(widgets=(IntWidget("noise_seed", 0, LARGEST_SEED, seeds=True),), gives=("NOISE",)),
    "KSamplerSelect": NodeType(widgets=(ChoiceWidget("sampler_name"),), gives=("SAMPLER",)),
    "BasicScheduler": NodeType(
        sockets=(Socket("model", "MODEL"),),
        widgets=(ChoiceWidget("scheduler", SCHEDULERS), IntWidget("steps", 1, 10000), FloatWidget("denoise", 0.0, 1.0)),
        gives=("SIGMAS",),
    ),
    "Flux2Scheduler": NodeType(widgets=(IntWidget("steps", 1, 4096), *SIDES), gives=("SIGMAS",)),
    "EmptyFlux2LatentImage": NodeType(widgets=(*SIDES, IntWidget("batch_size", 1, 4096)), gives=("LATENT",)),
    "EmptySD3LatentImage": NodeType(widgets=(*SIDES, IntWidget("batch_size", 1, 4096)), gives=("LATENT",)),
    "SamplerCustomAdvanced": NodeType(
        sockets=(
            Socket("noise", "NOISE"),
            Socket("guider", "GUIDER"),
            Socket("sampler", "SAMPLER"),
            Socket("sigmas", "SIGMAS"),
            Socket("latent_image", "LATENT"),
        ),
        gives=("LATENT", "LATENT"),
    ),
    "VAEDecode": NodeType(sockets=(Socket("samples", "LATENT"), Socket("vae", "VAE")), gives=("IMAGE",)),
    "LoadImage": NodeType(widgets=(ChoiceWidget("image"),), gives=("IMAGE", "MASK")),
    "VAEEncode": NodeType(sockets=(Socket("pixels", "IMAGE"), Socket("vae", "VAE")), gives=("LATENT",)),
    "ReferenceLatent": NodeType(
        sockets=(Socket("conditioning", "CONDITIONING"), Socket("latent", "LATENT")), gives=("CONDITIONING",)
    ),
    "SaveImage": NodeType(sockets=(Socket("images", "IMAGE"),), widgets=(TextWidget("filename_prefix"),), ends=True),
}
