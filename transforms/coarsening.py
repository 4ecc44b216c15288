"""Levels of coarsening: what to call a line or an endpoint when a window has too many names.

Each level is a function of the text alone, and factors through the one below it: texts that are one
at a level are one at all higher levels. So the first level at which the union of many windows' parts
fits is the same whichever parts were coarsened first, and nothing is ever left out.
"""

from __future__ import annotations

import re
from typing import Final

WILDCARD: Final = "<*>"

LEVELS: Final = (
    "exact",
    "words only",
    "first eight words",
    "first four words",
    "first two words",
    "first word",
    "any",
)
"""What a shape text is reduced to at each level; the level is the index."""

LAST_LEVEL: Final = len(LEVELS) - 1

ENDPOINT_LEVELS: Final = ("exact", "two path segments", "one path segment", "any")
LAST_ENDPOINT_LEVEL: Final = len(ENDPOINT_LEVELS) - 1

_WORDS_KEPT: Final = {2: 8, 3: 4, 4: 2, 5: 1}
_PLAIN_WORD = re.compile(r"[^\W\d_]+[:,;.!?]?")


def coarsen(text: str, level: int) -> str:
    """The name of the shape `text` at `level` (0 to LAST_LEVEL; outside of it, the nearest).

    Level 1 keeps plain words and makes one `<*>` of each run of anything else; levels 2 to 5 keep
    ever fewer words from the start; the last level is `<*>` for every text.

    >>> coarsen("user bob_7 failed login from <*> port <*>", 1), coarsen("a b c", 5)
    ('user <*> failed login from <*> port <*>', 'a <*>')
    """
    if level <= 0:
        return text
    if level >= LAST_LEVEL:
        return WILDCARD
    words: list[str] = []
    for token in text.split():
        if _PLAIN_WORD.fullmatch(token):
            words.append(token)
        elif not words or words[-1] != WILDCARD:
            words.append(WILDCARD)
    kept = _WORDS_KEPT.get(level, len(words))
    if len(words) > kept:
        words[kept:] = [WILDCARD] if words[kept - 1] != WILDCARD else []
    return " ".join(words)


def coarsen_endpoint(endpoint: str, level: int) -> str:
    """The name of `endpoint` at `level` (0 to LAST_ENDPOINT_LEVEL; outside of it, the nearest).

    What stands before the first slash (a method, a host) stays until the last level, which is `*`.
    A name without a slash counts as one segment per dot.

    >>> [coarsen_endpoint("GET /shop/cart/items/{id}", level) for level in range(4)]
    ['GET /shop/cart/items/{id}', 'GET /shop/cart/*', 'GET /shop/*', '*']
    """
    if level <= 0:
        return endpoint
    if level >= LAST_ENDPOINT_LEVEL:
        return "*"
    separator = "/" if "/" in endpoint else "."
    kept = LAST_ENDPOINT_LEVEL - level + (separator == "/")
    segments = endpoint.split(separator)
    if len(segments) <= kept:
        return endpoint
    return separator.join([*segments[:kept], "*"])
