"""A cap on names that whoever writes the logs makes up: of services, of revisions.

Those with the smallest hashes keep their own counts, and all others are counted together under
OTHERS. What is kept of the union of many parts is kept in each of them, so the result is the same
in any order and split, and no count is lost.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from hashlib import blake2b
from typing import Final

OTHERS: Final = "*"
"""Under this name all that have no count of their own are counted."""


def names_beyond(names: Collection[str], most: int) -> list[str]:
    """Those of `names` that are counted under OTHERS, so that `most` keep their own count."""
    if len(names) <= most:
        return []
    own = [name for name in names if name != OTHERS]
    return sorted(own, key=lambda name: (_hash(name), name))[most:]


@lru_cache(maxsize=1024)
def _hash(name: str) -> bytes:
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
