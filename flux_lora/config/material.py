"""The knobs of pictures and captions: where they come from, what they are held to, who may write them."""

from dataclasses import dataclass

from flux_lora.config.choices import (
    AlphaPolicy,
    CaptionLines,
    CheckFormat,
    CropMode,
    MaskMode,
    SourceRole,
    SubjectKind,
)


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """One place that pictures come from."""

    path: str
    """A folder, a metadata.jsonl, .csv or .parquet, WebDataset tars, or hub:owner/name@revision#split."""
    role: SourceRole = SourceRole.subject
    """regularisation: ordinary pictures, without the trigger in their captions."""
    repeats: int = 1
    """How often each of its pictures is in one round."""
    prefix: str = ""
    """Put before each caption as it is, blanks and all."""
    suffix: str = ""
    """Put after each caption."""
    image_column: str = "image"
    """Where a table or dataset keeps the picture."""
    caption_column: str = "text"
    """Where it keeps the caption."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The pictures and what they are called."""

    folder: str
    """Pictures with a caption of the same name beside each: mug_01.jpg, mug_01.txt. What a source may be, it may be."""
    sources: tuple[SourceConfig, ...] = ()
    """More of them: data.sources=[{path: photos/cats, role: regularisation}]."""
    recursive: bool = True
    """Folders inside folders too, but for held_out, masks and hidden ones."""
    held_out: str = ""
    """Pictures that are only compared with, never trained on. Empty means <folder>/held_out if it exists."""
    kind: SubjectKind = SubjectKind.other
    """What is taught. Decides how many pictures are right, and what captions had better leave unsaid."""
    trigger: str
    """The word that calls the new thing. A rare one, or the base's own meaning of it leaks in."""
    class_word: str
    """What the thing is, in one word the base knows: mug, cat, woman. Leakage is judged by it."""
    prompts: str = ""
    """The file with evaluation prompts. Empty means <folder>/prompts.txt if it exists."""
    prefix: str = ""
    """Put before each caption of data.folder."""
    suffix: str = ""
    """Put after each caption of data.folder."""
    image_column: str = "image"
    """Where data.folder keeps the picture, if it is a table or dataset."""
    caption_column: str = "text"
    """Where it keeps the caption."""
    caption_lines: CaptionLines = CaptionLines.joined
    """joined: a file is one caption; variants: each line is one, and one is drawn each time."""
    masks: MaskMode = MaskMode.auto
    """Found masks weigh the loss: name.mask.png beside the picture, or data.mask_folder."""
    mask_folder: str = ""
    """A folder with a mask of the same name for each picture that has one."""
    mask_floor: float = 0.1
    """How much what a mask leaves out still counts: a little, or what is drawn there goes its own way."""
    resolution: int = 512
    """Side in pixels of the square whose area every picture is scaled to; a multiple of 16."""
    more_resolutions: tuple[int, ...] = ()
    """Each picture is shown at these too, once each: fine print at 1024 beside shape at 512."""
    repeats: int = 1
    """How often each picture of data.folder is in one round through the set."""
    alpha: AlphaPolicy = AlphaPolicy.composite
    """Transparent pictures: on neutral grey, on varied grounds, as a mask, or refused."""
    crop: CropMode = CropMode.centre
    """What stays where a picture's shape is not its bucket's."""
    allow_crop: float = 0.25
    """Share of a picture that may fall outside its bucket; more stops training."""
    most_enlarged: float = 1.05
    """A picture smaller than its bucket is given a smaller bucket rather than be enlarged more than this."""
    sample_latents: bool = False
    """Draw each latent from the VAE's posterior instead of taking its mean."""


@dataclass(frozen=True, kw_only=True)
class RuleOff:
    """A rule of `check` that does not bind here. The report repeats why."""

    rule: str
    """Its id, as check prints it."""
    reason: str
    """Why its findings are no fault here."""


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """How the pictures are judged before anything is trained."""

    format: CheckFormat = CheckFormat.text
    """text for people; json, sarif and junit for CI, on standard output."""
    off: tuple[RuleOff, ...] = ()
    """Rules that are switched off: check.off=[{rule: blurred, reason: motion is meant}]."""
    page: bool = True
    """Whether check writes dataset/report.html into the run folder."""


@dataclass(frozen=True, kw_only=True)
class CaptionerConfig:
    """Who writes captions that are missing, for `flux-lora caption`."""

    model: str = ""
    """A vision-language model: a local folder or a Hugging Face id."""
    revision: str = ""
    """Commit of a Hugging Face id. Pinned, the same pictures get the same captions."""
    prompt: str = "Describe the picture in one sentence."
    """What the model is asked."""
    template: str = "a photo of a {trigger} {class}, {caption}"
    """How its answer becomes a caption."""
    max_tokens: int = 96
    """Where an answer is cut."""
    write: bool = False
    """false only shows what would be written."""
    overwrite: bool = False
    """true writes over captions that exist."""
