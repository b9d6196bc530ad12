"""Rules of checks, and the findings where they are broken."""

from dataclasses import dataclass
from pathlib import Path

from flux_lora.config.choices import Severity


@dataclass(frozen=True)
class Finding:
    """A broken rule at one file, or at the whole set, with its fix."""

    file: Path
    """The image; the folder for a finding on the whole set."""
    rule: str
    problem: str
    """Continues a sentence after the file's name: "has no caption"."""
    fix: str
    severity: Severity
    others: tuple[Path, ...] = ()
    """Further images, such as the rest of a group of duplicates."""

    @property
    def fatal(self) -> bool:
        """Whether training is refused."""
        return self.severity is Severity.error


@dataclass(frozen=True)
class Rule:
    """What a check reports. The id is stable: recipes switch rules off by it, and CI reads it."""

    id: str
    severity: Severity
    about: str
    """One sentence for the user: what is wrong, and what it does to training."""

    def at(self, file: Path, problem: str, fix: str, others: tuple[Path, ...] = ()) -> Finding:
        """A finding of this rule at a file."""
        return Finding(file=file, rule=self.id, problem=problem, fix=fix, severity=self.severity, others=others)
