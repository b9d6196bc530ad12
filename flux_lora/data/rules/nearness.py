"""How far two words are from each other."""

import re
import unicodedata

JOINTS = re.compile(r"[-_'’\s]")


def normalised(word: str) -> str:
    """A word without case, accents, hyphens and apostrophes: what is left is the same for all its spellings."""
    apart = unicodedata.normalize("NFKD", JOINTS.sub("", word).casefold())
    return "".join(letter for letter in apart if not unicodedata.combining(letter))


def edit_distance(first: str, second: str, *, most: int) -> int:
    """Letters to put in, leave out, change or swap with their neighbour to come from one to the other.

    Anything above `most` is said as most + 1.
    """
    if abs(len(first) - len(second)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(second) + 1))
    for at, letter in enumerate(first, 1):
        older, before, row = before, row, [at]
        for place, other in enumerate(second, 1):
            cost = min(before[place] + 1, row[place - 1] + 1, before[place - 1] + (letter != other))
            if at > 1 and place > 1 and letter == second[place - 2] and other == first[at - 2]:
                cost = min(cost, older[place - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
    return min(row[-1], most + 1)
