"""Globs over names of tenants, services and signals, as operators write them in files.

`*` stands for any text, `?` for one character, `[ab]` for one of several; capitals matter.
"""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache
from typing import Final

MAX_GLOB_CHARACTERS: Final = 200
_WILD: Final = frozenset("*?[")


def glob_matches(glob: str, name: str) -> bool:
    """Whether `glob` stands for the whole of `name`."""
    return glob == "*" or _compiled(glob).match(name) is not None


@lru_cache(maxsize=4096)
def _compiled(glob: str) -> re.Pattern[str]:
    return re.compile(translate(glob))


def glob_problem(glob: str) -> str:
    """What is wrong with `glob`, as in "must be ...", or "" for nothing."""
    if not glob:
        return 'must not be empty; "*" stands for all'
    if len(glob) > MAX_GLOB_CHARACTERS:
        return f"is longer than {MAX_GLOB_CHARACTERS} characters"
    if not glob.isprintable():
        return "must not hold control characters"
    if re.search(r"\[(?![!]?\]?[^\]]*\])", glob):
        return 'has a "[" that is not closed; [[] stands for the bracket itself'
    if re.search(r"\{[^}]*,[^}]*\}", glob):
        return "has {a,b}, which is no choice here; give each an entry of its own"
    return ""


def glob_covers(wide: str, narrow: str) -> bool:
    """Whether it is certain that `wide` stands for all that `narrow` does; False where it is hard to say."""
    if wide in ("*", narrow):
        return True
    if _WILD.isdisjoint(narrow):
        return glob_matches(wide, narrow)
    beginning, star, rest = wide.partition("*")
    return bool(star) and not rest and _WILD.isdisjoint(beginning) and narrow.startswith(beginning)
