"""Knobs of images and captions: sources, checks, captioner."""

from dataclasses import dataclass

from flux_lora.config.choices import (
    AlphaPolicy,
    CaptionLines,
    CheckFormat,
    CropMode,
    MaskMode,
    OutsideMask,
    SourceRole,
    SubjectKind,
)


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """One source of images."""

    path: str
    """A folder, a metadata.jsonl, .csv or .parquet, WebDataset tars, or hub:owner/name@revision#split."""
    role: SourceRole = SourceRole.subject
    """regularisation: ordinary images, no trigger in their captions; they count train.prior_loss_weight."""
    repeats: int = 1
    """Exposures of each of its images per epoch."""
    prefix: str = ""
    """Text put before each caption, exactly as written."""
    suffix: str = ""
    """Text put after each caption, exactly as written."""
    image_column: str = "image"
    """Column of the image in a table or dataset."""
    caption_column: str = "text"
    """Column of the caption in a table or dataset."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Images, captions, masks and buckets."""

    folder: str
    """Images, each with a caption file of its name: mug_01.jpg, mug_01.txt; or any source that data.sources takes."""
    sources: tuple[SourceConfig, ...] = ()
    """Further sources: data.sources=[{path: photos/cats, role: regularisation}]."""
    recursive: bool = True
    """Read subfolders too, except held_out, masks and hidden ones."""
    held_out: str = ""
    """Folder of images for evaluation, never trained on. Empty means <folder>/held_out if it exists."""
    held_out_images: int = 0
    """Where there is no such folder: how many images are held out, a quarter at most, never one whose copy is trained
    on. check and train name them. At 0 all are trained on, and nothing can be judged."""
    kind: SubjectKind = SubjectKind.other
    """Kind of subject. The checks of image count and of caption content follow from it."""
    trigger: str
    """Trigger word of the subject. A rare one, or the base's own meaning of it leaks in."""
    class_word: str
    """Class of the subject, in one word the base knows: mug, cat, woman. Leakage is measured with it."""
    prompts: str = ""
    """File of evaluation prompts. Empty means <folder>/prompts.txt if it exists."""
    prefix: str = ""
    """Text put before each caption of data.folder."""
    suffix: str = ""
    """Text put after each caption of data.folder."""
    image_column: str = "image"
    """Column of the image, if data.folder is a table or dataset."""
    caption_column: str = "text"
    """Column of the caption, if data.folder is a table or dataset."""
    caption_lines: CaptionLines = CaptionLines.joined
    """joined: a file is one caption; variants: each line is one, and one is drawn at each exposure."""
    reference_folders: tuple[str, ...] = ()
    """For data.kind=edit: folders with what each image was before, by the same name; several give several references.
    Empty takes <folder>/before for the images in <folder>/after, or the column `reference` of a table."""
    masks: MaskMode = MaskMode.auto
    """Masks weight the loss: name.mask.png beside the image, or data.mask_folder."""
    mask_folder: str = ""
    """A folder with a mask of the same name for each image that has one."""
    mask_floor: float = 0.1
    """Loss weight outside a mask. Above 0, or the background is left to drift."""
    outside_mask: OutsideMask = OutsideMask.photo
    """What is learned outside a mask: the photo, or what the base answers there, so that no background is learned."""
    resolution: int = 512
    """Buckets have about the area of a square of this side, in pixels; whole image tokens of 16."""
    more_resolutions: tuple[int, ...] = ()
    """Further resolutions that each image is trained at: fine print at 1024 and shape at 512."""
    repeats: int = 1
    """Exposures of each image of data.folder per epoch."""
    alpha: AlphaPolicy = AlphaPolicy.composite
    """Transparent images: on neutral grey, on varied backgrounds, as a mask, or refused."""
    crop: CropMode = CropMode.centre
    """What is kept where an image's aspect ratio is not its bucket's."""
    max_crop: float = 0.25
    """Share of an image that may be cropped away by its bucket; more stops training."""
    max_upscale: float = 1.05
    """Largest factor of enlargement; an image that would need more gets a smaller bucket."""
    sample_latents: bool = False
    """Draw each latent from the VAE's posterior instead of taking its mean."""

    @property
    def edits(self) -> bool:
        """Whether pairs are trained on, and not a subject."""
        return self.kind is SubjectKind.edit


@dataclass(frozen=True, kw_only=True)
class RuleOff:
    """A rule of `check` that is switched off. The report repeats why."""

    rule: str
    """Its id, as check prints it."""
    reason: str
    """Why its findings are no fault here."""


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """Checks of images and captions before training."""

    format: CheckFormat = CheckFormat.text
    """Output format on standard output: text for people; json, sarif and junit for CI."""
    off: tuple[RuleOff, ...] = ()
    """Rules that are switched off: check.off=[{rule: blurred, reason: motion is meant}]."""
    page: bool = True
    """Whether check writes dataset/report.html into the run folder."""


@dataclass(frozen=True, kw_only=True)
class CaptionerConfig:
    """The captioner of `flux-lora caption`."""

    model: str = ""
    """Vision-language model: a local folder or a Hugging Face id."""
    revision: str = ""
    """Commit of a Hugging Face id. Pinned, the same images get the same captions."""
    prompt: str = "Describe the picture in one sentence."
    """Prompt for the model."""
    template: str = "a photo of a {trigger} {class}, {caption}"
    """Caption made of the model's answer."""
    max_tokens: int = 96
    """Maximum length of an answer, in new tokens."""
    write: bool = False
    """Write caption files; false only shows them."""
    overwrite: bool = False
    """Also replace captions that exist."""
    expand: int = 0
    """Add a line of description behind captions of fewer words than this, such as 30; what is there stays in front.
    FLUX.2 and FLUX.3 were trained on captions of several sentences."""
