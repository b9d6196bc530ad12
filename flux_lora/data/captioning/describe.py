"""Ask a vision-language model what is on a picture. The only door to transformers' image-text-to-text pipeline.

No code from a model's repository is run, no pickle is opened, and a model from the hub is taken at one commit.
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
"""What is fetched: neither Python nor pickles."""
INSTRUCTION_ENDS = (".", "?", "!", ":")


def open_describer(model: str, revision: str, *, prompt: str, max_tokens: int, device: str = "cpu") -> "Describe":
    """A picture -> the model's answer to the prompt, always the same one: the likeliest word is taken each time."""
    folder = captioner_folder(model, revision)
    with _broken_models_explained(folder):
        from transformers import pipeline

        processor = open_processor(folder)
        asked = pipeline(
            "image-text-to-text",
            model=str(folder),
            processor=processor,
            device=device,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )

    greedy = {"do_sample": False, "num_beams": 1, "max_new_tokens": max_tokens}
    ask = partial(asked, return_full_text=False, generate_kwargs=greedy)
    template = processor.chat_template or processor.tokenizer.chat_template
    if template:
        return partial(_chat, partial(ask, chat_template=template), prompt)
    return partial(_go_on, ask, prompt)


def captioner_folder(model: str, revision: str) -> Path:
    """Where the model is on this disk, fetched from the hub if need be."""
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
    """What turns a picture and words into tensors.

    Models that know films too want torchvision for those. Where it is missing, they are opened for pictures alone.
    """
    from transformers import AutoConfig, AutoProcessor
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

    try:
        return AutoProcessor.from_pretrained(folder, trust_remote_code=False)
    except ImportError:
        kind = PROCESSOR_MAPPING[type(AutoConfig.from_pretrained(folder, trust_remote_code=False))]
        return _for_pictures_alone(cast("type[ProcessorMixin]", kind)).from_pretrained(folder)


def _for_pictures_alone(kind: type["ProcessorMixin"]) -> type["ProcessorMixin"]:
    class Still(kind):
        @classmethod
        def get_attributes(cls) -> list[str]:
            return [name for name in super().get_attributes() if name != "video_processor"]

    return Still


def _chat(ask: Callable[..., Any], prompt: str, picture: Image.Image) -> str:
    content = [{"type": "image", "image": picture}, {"type": "text", "text": prompt}]
    return str(ask(text=[{"role": "user", "content": content}])[0]["generated_text"])


def _go_on(ask: Callable[..., Any], prompt: str, picture: Image.Image) -> str:
    """A model that knows no chat goes on with what it is given: an instruction would become part of the caption."""
    begun = "" if prompt.rstrip().endswith(INSTRUCTION_ENDS) else prompt
    return begun + str(ask(images=picture, text=begun)[0]["generated_text"])


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
            f"{folder} cannot be opened as a model that describes pictures: {reason}",
            fix="set captioner.model to one that transformers knows by itself, with .safetensors weights",
        ) from error
