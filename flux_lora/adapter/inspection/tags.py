"""What the captions of a file's training said most often, as sd-scripts notes it: a trigger is mostly among it."""

import json
from collections import Counter
from collections.abc import Mapping

FREQUENCY = "ss_tag_frequency"
LONGEST = 4 * 2**20
"""Letters that are read."""


def commonest_tags(metadata: Mapping[str, str], most: int = 3) -> tuple[str, ...]:
    """The tags of most pictures, most frequent first; none if the file does not tell or makes no sense."""
    text = metadata.get(FREQUENCY, "")
    try:
        folders = json.loads(text) if 0 < len(text) <= LONGEST else {}
    except (ValueError, RecursionError):
        folders = {}
    counted: Counter[str] = Counter()
    for tags in folders.values() if isinstance(folders, dict) else ():
        for tag, count in tags.items() if isinstance(tags, dict) else ():
            if type(count) is int and tag.strip():
                counted[tag.strip()] += count
    return tuple(tag for tag, _ in counted.most_common(most))
