"""Every knob by its dotted key, with default and reason; the right key for a typo or for another trainer's word."""

import ast
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from functools import cache
from itertools import pairwise
from typing import get_args, get_origin, get_type_hints

from flux_lora.config import schema
from flux_lora.config.schema import RunConfig

RENAMED = {
    "train.clip": "train.max_grad_norm",
    "train.schedule": "train.lr_scheduler",
    "train.time_shift": "train.shift",
    "train.time_mean": "train.logit_mean",
    "train.time_std": "train.logit_std",
    "train.memories": "train.class_images",
    "model.text_tokens": "model.max_sequence_length",
    "data.most_enlarged": "data.max_upscale",
    "data.allow_crop": "data.max_crop",
}
"""Key of an earlier version -> key of this one. Both are taken; config/old_names.py does it."""


@dataclass(frozen=True)
class Synonym:
    """What an option of another trainer is here."""

    key: str = ""
    """The knob for it; empty where there is none."""
    reason: str = ""
    """Where the knob differs, or why there is none."""


SYNONYMS = {
    # the base model
    "pretrained_model_name_or_path": Synonym("model.path"),
    "ae": Synonym("model.vae"),
    "clip_l": Synonym("model.text_encoder"),
    "t5xxl": Synonym("model.text_encoder_2"),
    "unet": Synonym("model.transformer"),
    "max_sequence_length": Synonym("model.max_sequence_length"),
    "t5xxl_max_token_length": Synonym("model.max_sequence_length"),
    "max_token_length": Synonym("model.max_sequence_length", "in tokens of the text encoder that reads whole captions"),
    "guidance_scale": Synonym("model.train_guidance", "images are rendered at model.render_guidance"),
    "quantize": Synonym("hardware.quantize", "int8 or nf4"),
    "base_model_precision": Synonym("hardware.quantize", "int8 or nf4"),
    "load_in_4bit": Synonym("hardware.quantize", "nf4"),
    "load_in_8bit": Synonym("hardware.quantize", "int8"),
    "fp8_base": Synonym("hardware.quantize", "int8: the same memory, and three times as exact"),
    "blocks_to_swap": Synonym(
        reason="the whole base stays on one device; hardware.gradient_checkpointing saves memory"
    ),
    "torch_compile": Synonym("hardware.compile"),
    "xformers": Synonym(reason="attention is torch's scaled_dot_product_attention, which picks its own kernel"),
    # images and captions
    "instance_data_dir": Synonym("data.folder"),
    "train_data_dir": Synonym("data.folder"),
    "dataset_config": Synonym("data.sources", "data.folder is the first source, and a recipe can hold them all"),
    "control_path": Synonym("data.reference_folders", "[<folder>], with recipe=edit"),
    "control_directory": Synonym("data.reference_folders", "[<folder>], with recipe=edit"),
    "conditioning_data_dir": Synonym("data.reference_folders", "[<folder>], with recipe=edit"),
    "reg_data_dir": Synonym(
        "data.sources", "[{path: <folder>, role: regularisation}]; train.class_images has the base make such images"
    ),
    "instance_prompt": Synonym("data.trigger", "the trigger alone; each image has a caption of its own that says it"),
    "class_prompt": Synonym("data.class_word", "the one word; prompts are made with it"),
    "num_repeats": Synonym("data.repeats"),
    "caption_prefix": Synonym("data.prefix"),
    "caption_suffix": Synonym("data.suffix"),
    "masked_loss": Synonym("data.masks"),
    "max_upscale": Synonym("data.max_upscale"),
    "bucket_no_upscale": Synonym("data.max_upscale", "a factor: 1 enlarges nothing"),
    "random_crop": Synonym("data.crop", "data.crop=random"),
    "enable_bucket": Synonym(reason="images are always put into buckets"),
    "max_bucket_reso": Synonym(reason="buckets follow the shapes of the images, at the area of data.resolution"),
    "min_bucket_reso": Synonym(reason="buckets follow the shapes of the images, at the area of data.resolution"),
    "bucket_reso_steps": Synonym(reason="sides are multiples of one image token's pixels, as the base asks for"),
    "caption_extension": Synonym(reason="name.txt, name.caption and metadata files are all found without being named"),
    "shuffle_caption": Synonym(reason="captions are sentences, and stay in their order"),
    "keep_tokens": Synonym(reason="captions are never shuffled, so all of their tokens stay in place"),
    "color_aug": Synonym(reason="the colours of the images are what is learned, so none are changed"),
    "flip_aug": Synonym(reason="images are never mirrored, which would spoil lettering and asymmetric faces"),
    "cache_latents": Synonym(reason="latents and prompt embeds are always cached"),
    "cache_text_encoder_outputs": Synonym(reason="latents and prompt embeds are always cached"),
    "caption_dropout_rate": Synonym("train.caption_dropout"),
    # the adapter
    "network_dim": Synonym("adapter.rank"),
    "rank": Synonym("adapter.rank"),
    "network_alpha": Synonym("adapter.alpha"),
    "lora_alpha": Synonym("adapter.alpha"),
    "alpha": Synonym("adapter.alpha"),
    "network_module": Synonym("adapter.kind", "lora, dora, lokr or loha"),
    "network_type": Synonym("adapter.kind", "lora, dora, lokr or loha"),
    "lora_type": Synonym("adapter.kind", "lora, dora, lokr or loha"),
    "algo": Synonym("adapter.kind", "lora, dora, lokr or loha"),
    "use_dora": Synonym("adapter.kind", "adapter.kind=dora"),
    "init_lora_weights": Synonym(
        reason="an adapter begins as nothing: starts that change the base (PiSSA, OLoRA, LoftQ) leave no strength 0"
    ),
    "network_dropout": Synonym(reason="train.caption_dropout is what keeps a subject apart from its captions"),
    "lora_dropout": Synonym(reason="train.caption_dropout is what keeps a subject apart from its captions"),
    "use_rslora": Synonym("adapter.alpha", "rsLoRA's scale is alpha / sqrt(rank): multiply alpha by sqrt(rank) for it"),
    "network_train_unet_only": Synonym(reason="only layers of the transformer are trained, never a text encoder"),
    "train_text_encoder": Synonym(reason="only layers of the transformer are trained, never a text encoder"),
    "text_encoder_lr": Synonym(reason="only layers of the transformer are trained, never a text encoder"),
    # training
    "max_train_steps": Synonym("train.steps"),
    "num_train_epochs": Synonym("train.steps", "in optimizer updates: steps = epochs * images / train.batch_size"),
    "max_train_epochs": Synonym("train.steps", "in optimizer updates: steps = epochs * images / train.batch_size"),
    "epochs": Synonym("train.steps", "in optimizer updates: steps = epochs * images / train.batch_size"),
    "lr": Synonym("train.learning_rate"),
    "unet_lr": Synonym("train.learning_rate"),
    "lr_scheduler": Synonym("train.lr_scheduler"),
    "lr_warmup_steps": Synonym("train.warmup_steps"),
    "optimizer_type": Synonym("train.optimizer"),
    "max_grad_norm": Synonym("train.max_grad_norm"),
    "train_batch_size": Synonym("train.batch_size"),
    "gradient_accumulation_steps": Synonym("train.gradient_accumulation_steps"),
    "train_blocks": Synonym("adapter.blocks", "a list: double, single, single.7, single.20-30"),
    "train_double_block_indices": Synonym("adapter.blocks", "a list, such as [double.0-3]"),
    "train_single_block_indices": Synonym("adapter.blocks", "a list, such as [single.7,single.20-30]"),
    "network_weights": Synonym("adapter.start"),
    "seed": Synonym("train.seed"),
    "discrete_flow_shift": Synonym("train.shift"),
    "timestep_sampling": Synonym(
        "train.sigma_sampling", "logit_normal, uniform or mode; flux_shift is train.dynamic_shift=true"
    ),
    "weighting_scheme": Synonym(
        reason="every sigma weighs the same; train.logit_mean and train.logit_std say which are drawn"
    ),
    "noise_offset": Synonym(
        reason="with flow matching training reaches pure noise, so there is no offset to make up for"
    ),
    "min_snr_gamma": Synonym(reason="it weighs the loss of noise prediction, and FLUX predicts velocity"),
    "ema_decay": Synonym(reason="no average of the weights is kept; evaluate chooses among checkpoints instead"),
    "use_ema": Synonym(reason="no average of the weights is kept; evaluate chooses among checkpoints instead"),
    "with_prior_preservation": Synonym("train.preservation", "a weight: 0 is off"),
    "prior_loss_weight": Synonym("train.prior_loss_weight"),
    "validation_split": Synonym("data.held_out_images", "a number of images"),
    "num_class_images": Synonym("train.class_images"),
    "checkpointing_steps": Synonym("train.save_every"),
    "save_every_n_steps": Synonym("train.save_every"),
    "resume_from_checkpoint": Synonym("train.resume", "auto, fresh or a folder"),
    # the rest of a run
    "output_dir": Synonym("run.dir"),
    "output_name": Synonym("export.name"),
    "validation_prompt": Synonym("preview.prompts", "a list"),
    "sample_prompts": Synonym("preview.prompts", "a list"),
    "sample_every": Synonym("preview.every", "in steps"),
    "sample_every_n_steps": Synonym("preview.every"),
    "validation_steps": Synonym("preview.every"),
    "report_to": Synonym("tracker.name", "or tracker=<name>"),
    "log_with": Synonym("tracker.name", "or tracker=<name>"),
    "mixed_precision": Synonym("hardware.dtype", "bf16 or fp32"),
    "gradient_checkpointing": Synonym("hardware.gradient_checkpointing"),
    "num_processes": Synonym(
        reason="it is told to torchrun: torchrun --nproc-per-node 2 -m flux_lora train ... trains one adapter by two"
    ),
}
"""Options of kohya sd-scripts, diffusers, ai-toolkit and others -> what is set here instead."""

ALIKE = 0.6
"""Share of letters in common from which a word counts as a typo of another."""


@dataclass(frozen=True)
class Knob:
    """One thing a person can set."""

    key: str
    kind: type
    default: str
    """As text; ??? where one has to be given."""
    reason: str
    listed: type | None = None
    """What a list has in it."""

    @property
    def choices(self) -> tuple[str, ...]:
        """The names to choose from; none for numbers and free text."""
        return tuple(self.kind.__members__) if issubclass(self.kind, StrEnum) else ()

    @property
    def listed_choices(self) -> tuple[str, ...]:
        """The names that a list is made of; none where it is one of numbers or free text."""
        return tuple(self.listed.__members__) if self.listed and issubclass(self.listed, StrEnum) else ()


def all_knobs() -> tuple[Knob, ...]:
    """Every knob, in the order of the schema."""
    return knobs_of(schema.RunConfig)


@cache
def knobs_of(root: type) -> tuple[Knob, ...]:
    """Every knob of a dataclass and of the dataclasses in it."""
    return tuple(_knobs_of(root, prefix=""))


def sections() -> tuple[str, ...]:
    """The names that hold knobs: run, model, data, ..."""
    return tuple(dict.fromkeys(knob.key.split(".")[0] for knob in all_knobs() if "." in knob.key))


def nearest(word: str, choices: Sequence[str]) -> str:
    """The choice that a mistyped word was probably meant to be, or nothing."""
    likest = max(choices, key=lambda choice: _likeness(word, choice), default="")
    return likest if likest and _likeness(word, likest) >= ALIKE else ""


def nearest_key(key: str, also: Sequence[str] = ()) -> str:
    """The knob or group that a mistyped key was probably meant to be, or nothing."""
    leaf = key.split(".")[-1]
    keys = [*(knob.key for knob in all_knobs()), *RENAMED]
    same_leaf = [known for known in keys if known.split(".")[-1] == leaf]
    close = (nearest(key, same_leaf) or same_leaf[0]) if same_leaf else nearest(key, [*keys, *also])
    if not close:
        same_end = nearest(leaf, [known.split(".")[-1] for known in keys])
        close = next((known for known in keys if known.split(".")[-1] == same_end), "")
    return RENAMED.get(close, close)


def synonym_of(key: str) -> Synonym | None:
    """What a key of another trainer or of an earlier version is here; None for a key that is neither.

    A section before the word is let be (`train.lr`), unless the word is also a knob's own (`evaluate.seed`).
    """
    if key in RENAMED:
        return Synonym(RENAMED[key])
    word = key.lower().replace("-", "_")
    leaf = word.rpartition(".")[2]
    if word == leaf or leaf not in {knob.key.rpartition(".")[2] for knob in all_knobs()}:
        return SYNONYMS.get(leaf)
    return None


def _likeness(word: str, choice: str) -> float:
    return SequenceMatcher(None, word.lower(), choice.lower()).ratio()


def _knobs_of(section: type, *, prefix: str) -> Iterator[Knob]:
    kinds, reasons = get_type_hints(section), _reasons(section)
    for field in fields(section):
        kind = kinds[field.name]
        if isinstance(kind, type) and is_dataclass(kind):
            yield from _knobs_of(kind, prefix=f"{prefix}{field.name}.")
            continue
        default = _as_typed(_default_of(field))
        listed = next((each for each in get_args(kind) if isinstance(each, type)), None)
        kind = kind if isinstance(kind, type) else get_origin(kind)  # tuple[float, ...] is no class of its own
        yield Knob(f"{prefix}{field.name}", kind, default, reasons.get(field.name, ""), listed)


def _default_of(field: Field[object]) -> object:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return "???" if field.default is MISSING else field.default


@cache
def _reasons(section: type) -> dict[str, str]:
    """Field -> the text below it."""
    module = ast.parse(inspect.getsource(section))
    return dict(_texts_below(module.body[0].body)) if isinstance(module.body[0], ast.ClassDef) else {}


def _texts_below(body: Sequence[ast.stmt]) -> Iterator[tuple[str, str]]:
    for field, below in pairwise(body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, " ".join(text.split())


def _as_typed(default: object) -> str:
    """The default as it would be written on the command line."""
    match default:
        case bool():
            return str(default).lower()
        case StrEnum():
            return default.name
        case tuple():
            return "[" + ",".join(map(str, default)) + "]"
        case _:
            return str(default)


@dataclass(frozen=True)
class Element:
    """What stands in a list whose elements have keys of their own, such as data.sources."""

    of: str
    """The list's dotted key."""
    kinds: Mapping[str, type]
    """What each of its keys takes."""


@cache
def elements() -> Mapping[str, Element]:
    """The elements of every such list, by the name of their class."""
    return dict(_elements_in(RunConfig, prefix=""))


def _elements_in(section: type, *, prefix: str) -> Iterator[tuple[str, Element]]:
    for name, kind in get_type_hints(section).items():
        if is_dataclass(kind) and isinstance(kind, type):
            yield from _elements_in(kind, prefix=f"{prefix}{name}.")
        elif get_origin(kind) is tuple and is_dataclass(inner := get_args(kind)[0]) and isinstance(inner, type):
            yield inner.__name__, Element(f"{prefix}{name}", get_type_hints(inner))
