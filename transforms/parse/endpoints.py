"""Routes: the path of a URL with its ids masked, so that requests to one endpoint count together."""

from __future__ import annotations

import re
from typing import Final

_MASK: Final = "{id}"
_MAX_LENGTH: Final = 200
_MAX_URL: Final = 2000
_MAX_KEPT: Final = 16_384
_MAX_KEY_LENGTH: Final = 256
# The ids that vary most are masked before the memo is asked, else each URL would be new to it.
_COMMON_IDS: Final = re.compile(
    r"/(?:[0-9]+|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[A-Za-z]{1,16}[-_][0-9]{4,16})"
    r"(?=/|\Z)"
)
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}")
_HEX: Final = re.compile(r"(?:0[xX])?[0-9a-fA-F]{8,}")
_VERSION: Final = re.compile(r"[vV]?\d{1,3}(?:\.\d{1,3}){0,2}(?:(?:alpha|beta|rc)\d*)?")
_NUMERIC: Final = re.compile(r"[+-]?\d[\d.,:_\-]*")


class EndpointMasker:
    """Makes endpoints and remembers them; what it remembers never changes what it answers."""

    def __init__(self) -> None:
        self._urls: dict[tuple[str, str], str] = {}
        self._endpoints: dict[tuple[str, str], str] = {}

    def endpoint(self, method: str, url: str) -> str:
        """`GET /orders/{id}` for a method and a URL or path. Either may be empty."""
        endpoint = self._urls.get((method, url))
        if endpoint is None:
            path = _COMMON_IDS.sub("/{id}", _path(url))
            endpoint = self._endpoints.get((method, path))
            if endpoint is None:
                endpoint = f"{method[:16]} {_mask_path(path)}".strip()
                _remember(self._endpoints, method, path, endpoint)
            _remember(self._urls, method, url, endpoint)
        return endpoint


def _remember(memo: dict[tuple[str, str], str], method: str, url: str, endpoint: str) -> None:
    if len(url) <= _MAX_KEY_LENGTH:
        if len(memo) >= _MAX_KEPT:
            memo.clear()
        memo[method, url] = endpoint


def mask_route(url: str) -> str:
    """Path of `url` with ids as `{id}`; scheme, host, parameters, query and fragment dropped."""
    return _mask_path(_path(url))


def _path(url: str) -> str:
    if len(url) > _MAX_URL:
        url = url[:_MAX_URL]
    if url[:1] != "/":
        scheme = url.find("://", 0, 12)
        if scheme > 0:
            slash = url.find("/", scheme + 3)
            url = url[slash:] if slash >= 0 else "/"
    for end in "?#;":
        if end in url:
            url = url.partition(end)[0]
    return url


def _mask_path(path: str) -> str:
    if "/" in path:
        path = "/".join([_mask_segment(segment) if segment else "" for segment in path.split("/")])
    return path[:_MAX_LENGTH]


def _mask_segment(segment: str) -> str:
    if segment.isalpha() and len(segment) < 20:
        return segment
    if _is_id(segment):
        return _MASK
    if "." in segment and not _VERSION.fullmatch(segment):
        stem, _, suffix = segment.rpartition(".")
        return ".".join([_MASK if _is_id(part) else part for part in stem.split(".")] + [suffix[:16]])
    return segment


def _is_id(segment: str) -> bool:
    if _VERSION.fullmatch(segment):
        return segment.isdecimal()
    if "@" in segment or "%40" in segment or _NUMERIC.fullmatch(segment) or _UUID.fullmatch(segment):
        return True
    digits = sum(map(str.isdecimal, segment))
    if "." in segment:
        return False  # a file name: judged part by part
    return digits >= 4 or (digits >= 1 and _HEX.fullmatch(segment) is not None) or _is_random(segment, digits)


def _is_random(segment: str, digits: int) -> bool:
    """Long tokens whose case or digits follow no word: base64, nanoid, session keys."""
    if len(segment) < 16:
        return False
    if digits >= 2 and "-" not in segment and "_" not in segment:
        return True
    upper = sum(char.isupper() for char in segment)
    return len(segment) >= 20 and 0.3 <= upper / len(segment) <= 0.7
