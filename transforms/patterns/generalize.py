"""Which words of a service's lines vary, judged by the lines side by side.

A position is variable when lines that agree everywhere else have many different words there. How
many are needed depends on the words: an open vocabulary (users, hosts) soon shows many values, a
closed one (states, verbs, levels) never does, and its values are what people on call look at. So
`bob` and `alice` do not make a variable yet; five users do, and then every other user belongs to it.

Works on distinct texts only, so that its cost does not depend on the number of lines.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache, reduce
from hashlib import blake2b
from itertools import combinations
from operator import xor
from typing import Final, NamedTuple

import msgspec

from transforms.coarsening import WILDCARD

MIN_EVIDENCE: Final = 3.0
EVIDENCE_PER_SCARCE_WORD: Final = 6.0
_MAX_PAIR_WORDS: Final = 16
_MAX_PAIR_PATTERNS: Final = 200
_MIN_CROWD: Final = 50  # patterns among which a word that only one in 50 has is rare
_MAX_OPENINGS: Final = 16

_REQUEST = re.compile(r"[A-Z]+ /")
_DELIMITERS = re.compile(r"([\s=:,;()\[\]{}\"'|]+)")
_IDENTIFIER_MARK = re.compile(r"<[a-z_*]+>|[._@$\\-]")

Position = tuple[int, ...]
"""Indexes into the words of a text, ascending."""


class Pattern(msgspec.Struct, array_like=True, gc=False):
    """What some shapes of a service have in common.

    `pattern_id` is the shape_id of its first shape and stays, however general the pattern becomes.
    `variables` are the indexes of words (see `split_words`) that any word may take.
    """

    pattern_id: str
    text: str
    first_seen_us: int
    last_seen_us: int
    variables: list[int] = []


@lru_cache(maxsize=1 << 14)
def split_words(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Words of `text` and the delimiters between them: white space and `=:,;()[]{}"'|`.

    The shape of a request record is one word: routes are a closed vocabulary, never a variable.

    >>> split_words("user=bob (id <*>)")
    (('user', 'bob', 'id', '<*>', ''), ('=', ' (', ' ', ')'))
    """
    if _REQUEST.match(text):
        return (text,), ()
    parts = _DELIMITERS.split(text)
    return tuple(parts[::2]), tuple(parts[1::2])


def covers(pattern: Pattern, words: tuple[str, ...]) -> bool:
    """Whether `pattern` has these words wherever it is not variable; delimiters are not compared."""
    variables = pattern.variables
    return all(
        ours == word or (word != "" and index in variables)
        for index, (ours, word) in enumerate(zip(split_words(pattern.text)[0], words, strict=True))
    )


class Merge(NamedTuple):
    """`members` agree in every word but those at `position`, which vary."""

    members: list[Pattern]
    position: Position


def find_merges(patterns: Iterable[Pattern]) -> Iterator[Merge]:
    """Merges among `patterns`, which have the same delimiters; no pattern is in two of them.

    The result depends on the set of patterns only.
    """
    candidates = sorted(patterns, key=lambda pattern: pattern.pattern_id)
    taken: set[str] = set()
    for candidate in _find_alike(candidates) if len(candidates) > 1 else ():
        members = [pattern for pattern in candidate.members if pattern.pattern_id not in taken]
        if len(members) > 1 and _is_variable(members, candidate.position):
            taken.update(pattern.pattern_id for pattern in members)
            yield Merge(members, candidate.position)


def merge_patterns(merge: Merge) -> Pattern:
    """The pattern of all members: the id of the one seen first, and every word that varies in any open."""
    eldest = min(merge.members, key=lambda pattern: (pattern.first_seen_us, pattern.pattern_id))
    variables = set(merge.position).union(*(pattern.variables for pattern in merge.members))
    words, delimiters = split_words(eldest.text)
    opened = [WILDCARD if index in variables else word for index, word in enumerate(words)]
    return Pattern(
        eldest.pattern_id,
        "".join(word + delimiter for word, delimiter in zip(opened, (*delimiters, ""), strict=True)),
        eldest.first_seen_us,
        max(pattern.last_seen_us for pattern in merge.members),
        sorted(variables),
    )


def _find_alike(patterns: list[Pattern]) -> list[Merge]:
    """Sets of patterns that agree but for one position, or for several; the surest first.

    Next to a pattern that has variables, the others are also looked at as if these words of theirs
    were variable: they may differ from it in one word more.
    """
    groups: defaultdict[tuple[Position, Position, int], list[Pattern]] = defaultdict(list)
    openings = sorted({tuple(pattern.variables) for pattern in patterns} | {()})[: _MAX_OPENINGS + 1]
    for opened in openings:
        for pattern in patterns:
            hashes = _word_hashes(pattern, opened)
            whole = reduce(xor, hashes)
            for index, value in enumerate(hashes):
                groups[(index,), opened, whole ^ value].append(pattern)
    for pattern, positions in _several(patterns):
        hashes = _word_hashes(pattern, ())
        whole = reduce(xor, hashes)
        for position in positions:
            groups[position, (), reduce(xor, [hashes[index] for index in position], whole)].append(pattern)
    found = [
        (len(position), -len(group), position, key, Merge(group, tuple(sorted({*position, *opened}))))
        for (position, opened, key), group in groups.items()
        if len(group) > 1 and (not opened or any(opened == tuple(pattern.variables) for pattern in group))
    ]
    return [merge for *_, merge in sorted(found, key=lambda item: item[:4])]


def _several(patterns: list[Pattern]) -> Iterator[tuple[Pattern, Iterable[Position]]]:
    """Positions of a pattern that may vary together.

    Among few patterns all pairs; among many the positions of its rare words, however many they are.
    """
    words_of = [split_words(pattern.text)[0] for pattern in patterns]
    if len(patterns) <= _MAX_PAIR_PATTERNS:
        for pattern, words in zip(patterns, words_of, strict=True):
            if len(words) <= _MAX_PAIR_WORDS:
                yield pattern, combinations(range(len(words)), 2)
    if len(patterns) < _MIN_CROWD:
        return
    times = Counter(placed for words in words_of for placed in enumerate(words))
    rare = max(1, len(patterns) // _MIN_CROWD)
    for pattern, words in zip(patterns, words_of, strict=True):
        position = tuple(index for index, word in enumerate(words) if times[index, word] <= rare)
        if len(position) > 1:
            yield pattern, [position]


def _word_hashes(pattern: Pattern, opened: Position) -> list[int]:
    return [
        _word_hash(index, WILDCARD if index in opened else word)
        for index, word in enumerate(split_words(pattern.text)[0])
    ]


def _is_variable(members: list[Pattern], position: Position) -> bool:
    known = max((pattern.variables for pattern in members), key=len)
    fresh = [index for index in position if index not in known]
    words, delimiters = split_words(members[0].text)
    constants = sum(any(map(str.isalpha, word)) for index, word in enumerate(words) if index not in position)
    if len(fresh) > 1 and constants < len(fresh):
        return False
    needed = MIN_EVIDENCE + EVIDENCE_PER_SCARCE_WORD / max(constants, 0.5)
    for index in fresh:
        if index < len(delimiters) and delimiters[index].startswith("="):
            return False  # a key names its value: it is not one
        before = delimiters[index - 1] if index else ""
        values = {split_words(pattern.text)[0][index] for pattern in members}
        if sum(_evidence(value, before) for value in values) < needed:
            return False
    return True


def _evidence(value: str, before: str) -> float:
    """How much one value, behind the delimiter `before`, says that its position is variable.

    Numbers, identifiers and values of keys say more than a word; a word in capitals is mostly one of
    a few states, and says less.
    """
    if not value:
        return 0.0
    if before.endswith("=") or _IDENTIFIER_MARK.search(value):
        return 2.0
    return 0.5 if len(value) > 1 and value.isupper() else 1.0


@lru_cache(maxsize=1 << 16)
def _word_hash(index: int, word: str) -> int:
    encoded = word.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(encoded, digest_size=8, salt=index.to_bytes(8, "big")).digest(), "big")
