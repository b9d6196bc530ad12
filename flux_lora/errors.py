"""The errors that a person can put right.

UserError
├── ConfigError       a recipe, a knob or a command line
├── DataError         photos and captions
├── ModelError        the base model and its parts
├── AdapterFileError  a LoRA file
└── RunError          a run folder, or training itself

Anything else that is raised is a fault of this package and keeps its traceback.
"""


class UserError(Exception):
    """What went wrong, and the one thing to do about it."""

    exit_code = 2

    def __init__(self, problem: str, *, fix: str) -> None:
        super().__init__(problem, fix)
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.problem}\nfix: {self.fix}"


class ConfigError(UserError):
    """A recipe, a knob or a command line asks for something that cannot be."""


class DataError(UserError):
    """The photos or captions are not fit to learn from."""


class ModelError(UserError):
    """The base model, or a part of it, cannot be loaded."""


class AdapterFileError(UserError):
    """A LoRA file cannot be read, written or trusted."""


class RunError(UserError):
    """A run folder or the training in it cannot go on."""
