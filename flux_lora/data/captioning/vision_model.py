"""A vision-language model that describes an image. The only user of transformers' image-text-to-text pipeline.

No code from a model's repository is run, no pickle is opened, and a hub model is pinned to a commit.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from PIL import Image
from safetensors import SafetensorError

from flux_lora.errors import ConfigError, ModelError
from flux_lora.models.hub import fetched

if TYPE_CHECKING:
    from transformers.processing_utils import ProcessorMixin

    from flux_lora.data.captioning.captioner import Describe

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
COMMIT = re.compile(r"[0-9a-f]{40}")
PATTERNS = ("*.json", "*.jinja", "*.txt", "*.model", "*.safetensors")
"""Files to download: neither Python nor pickles."""
INSTRUCTION_ENDS = (".", "?", "!", ":")


def open_describer(model: str, revision: str, *, prompt: str, max_tokens: int, device: str = "cpu") -> "Describe":
    """A function from image to description, by greedy decoding, and so deterministic.

    Models without a chat template continue the prompt. Raises ModelError where the model cannot be opened.
    """
    folder = captioner_folder(model, revision)
    with _broken_models_explained(folder):
        from transformers import pipeline

        processor = open_processor(folder)
        generator = pipeline(
            "image-text-to-text",
            model=str(folder),
            processor=processor,
            device=device,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )

    greedy = {"do_sample": False, "num_beams": 1, "max_new_tokens": max_tokens}
    generate = partial(generator, return_full_text=False, generate_kwargs=greedy)
    template = processor.chat_template or processor.tokenizer.chat_template
    if template:
        return partial(_chat, partial(generate, chat_template=template), prompt)
    return partial(_complete, generate, prompt)


def captioner_folder(model: str, revision: str) -> Path:
    """The model's local folder; a hub id is downloaded at `revision`, a commit.

    Raises ConfigError without a model or a commit, ModelError where it cannot be found or downloaded.
    """
    if not model:
        raise ConfigError(
            "captioner.model is empty",
            fix="set it to a folder that holds a vision-language model, or to a hub id and captioner.revision",
        )
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if not HUB_ID.fullmatch(model):
        raise ModelError(f"{folder} is not a folder", fix="set captioner.model to a folder that exists, or to a hub id")
    if not COMMIT.fullmatch(revision):
        raise ConfigError(
            f"captioner.revision is {revision!r}, and {model} may change under any name but a commit's",
            fix=f"set it to the 40 digits of a commit from https://huggingface.co/{model}/commits/main",
        )
    try:
        return fetched(model, PATTERNS, revision)
    except ModelError as error:
        fix = error.fix.replace("model.path", "captioner.model").replace("model.revision", "captioner.revision")
        raise ModelError(error.problem, fix=fix) from error


def open_processor(folder: Path) -> "ProcessorMixin":
    """The model's processor. Without torchvision, which video processors need, it is opened for images only."""
    from transformers import AutoConfig, AutoProcessor
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

    try:
        return AutoProcessor.from_pretrained(folder, trust_remote_code=False)
    except ImportError:
        kind = PROCESSOR_MAPPING[type(AutoConfig.from_pretrained(folder, trust_remote_code=False))]
        return _images_only(cast("type[ProcessorMixin]", kind)).from_pretrained(folder)


def _images_only(kind: type["ProcessorMixin"]) -> type["ProcessorMixin"]:
    class ImagesOnly(kind):
        @classmethod
        def get_attributes(cls) -> list[str]:
            return [name for name in super().get_attributes() if name != "video_processor"]

    return ImagesOnly


def _chat(generate: Callable[..., Any], prompt: str, image: Image.Image) -> str:
    content = [{"type": "image", "image": image}, {"type": "text", "text": prompt}]
    return str(generate(text=[{"role": "user", "content": content}])[0]["generated_text"])


def _complete(generate: Callable[..., Any], prompt: str, image: Image.Image) -> str:
    """Continue the prompt, for a model without a chat template. An instruction would end up in the caption, so it is
    dropped."""
    start = "" if prompt.rstrip().endswith(INSTRUCTION_ENDS) else prompt
    return start + str(generate(images=image, text=start)[0]["generated_text"])


@contextmanager
def _broken_models_explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        if "torchvision::" in str(error.__cause__):
            raise ModelError(
                "transformers cannot be loaded beside this torchvision, which was built for another torch",
                fix="install both from one place, such as: pip install torch torchvision --index-url "
                "https://download.pytorch.org/whl/cpu; or run: pip uninstall torchvision",
            ) from error
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"{folder} needs more than is installed: {reason.partition(' but ')[0]}",
            fix="install what it names; for most it is: pip install torchvision",
        ) from error
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"{folder} cannot be opened as a model that describes images: {reason}",
            fix="set captioner.model to one that transformers knows by itself, with .safetensors weights",
        ) from error
