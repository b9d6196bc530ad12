"""What can be wrong with the files of a source before a picture is opened."""

from flux_lora.config.choices import Severity
from flux_lora.data.findings import Rule

UNDECODABLE_CAPTION = Rule(
    "undecodable-caption",
    Severity.error,
    "A caption file is no text in utf-8, utf-16 or cp1252; the picture would be trained without its words.",
)
CAPTION_ENCODING = Rule(
    "caption-encoding",
    Severity.note,
    "A caption is not plain utf-8. It was told apart and read; other programs may read it differently.",
)
TWO_CAPTIONS = Rule(
    "two-captions",
    Severity.warning,
    "Two places say different things of one picture; only one of them is trained on.",
)
SHARED_CAPTION = Rule(
    "shared-caption",
    Severity.warning,
    "Two pictures differ only in their endings, so one caption file speaks for both.",
)
ORPHAN_CAPTION = Rule(
    "orphan-caption",
    Severity.warning,
    "A caption file has no picture of its name; a misspelt name leaves some picture without words.",
)
ORPHAN_MASK = Rule(
    "orphan-mask",
    Severity.warning,
    "A mask belongs to no picture, or to more than one; the picture meant is trained without it.",
)
UNREAD_PICTURE = Rule(
    "unread-picture",
    Severity.warning,
    "A file looks like a picture and is not trained on: its kind is not read, or it cannot be reached.",
)
IGNORED_FILE = Rule(
    "ignored-file",
    Severity.note,
    "A file is neither picture nor caption nor mask, and is left alone.",
)
UNREADABLE_FOLDER = Rule(
    "unreadable-folder",
    Severity.error,
    "A folder cannot be listed; its pictures would be missing.",
)
UNREADABLE_ROW = Rule(
    "unreadable-row",
    Severity.error,
    "A row of a table, or a sample of a shard, cannot be read; its picture would lose its caption or be missing.",
)
ROW_WITHOUT_PICTURE = Rule(
    "row-without-picture",
    Severity.error,
    "A row of a table names a picture that is not among those read.",
)

RULES: tuple[Rule, ...] = (
    UNDECODABLE_CAPTION,
    CAPTION_ENCODING,
    TWO_CAPTIONS,
    SHARED_CAPTION,
    ORPHAN_CAPTION,
    ORPHAN_MASK,
    UNREAD_PICTURE,
    IGNORED_FILE,
    UNREADABLE_FOLDER,
    UNREADABLE_ROW,
    ROW_WITHOUT_PICTURE,
)
