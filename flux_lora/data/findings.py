"""What a rule is, and what it says of a file."""

from dataclasses import dataclass
from pathlib import Path

from flux_lora.config.choices import Severity


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with one file, or with the set as a whole, and the way out."""

    file: Path
    """The picture it is about; the folder, where it is about the whole set."""
    rule: str
    problem: str
    """Goes on after the file's name: "has no caption"."""
    fix: str
    severity: Severity
    others: tuple[Path, ...] = ()
    """Other pictures it is about, such as the rest of a group of duplicates."""

    @property
    def fatal(self) -> bool:
        """Whether it stands in the way of training."""
        return self.severity is Severity.error


@dataclass(frozen=True)
class Rule:
    """One thing that is looked for. Its id is stable: recipes switch rules off by it, and CI reads it."""

    id: str
    severity: Severity
    about: str
    """One sentence for people: what is wrong, and what comes of training on it."""

    def at(self, file: Path, problem: str, fix: str, others: tuple[Path, ...] = ()) -> Finding:
        """What this rule says of a file."""
        return Finding(file=file, rule=self.id, problem=problem, fix=fix, severity=self.severity, others=others)
