"""Masking: which parts of a line vary from one line to the next, judged by the line alone.

Every digit is read as 0, so the mask of a line never depends on which digits it has. What is
masked becomes `<*>`: numbers with their sign, decimals and unit, hexadecimal and other ids that mix
letters with digits, addresses, UUIDs, paths and URLs. Letters in front of a number stay (`node-7`
becomes `node-<*>`), for they say what the number counts. Words stay as they are; whether a word
varies (a user, a host) only other lines can tell, which is the work of `merge`.

The regular expressions here run over untrusted text with Python's `re`, because re2 takes many times
as long on short strings. Each is linear: a repeated class is followed by nothing it could give back,
or the match is tried only behind a delimiter.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import Final

from transforms.coarsening import WILDCARD

DIGITS_TO_ZERO: Final = bytes.maketrans(b"123456789", b"0" * 9)
"""Table for `bytes.translate` of UTF-8; no byte of a longer UTF-8 sequence is a digit."""

_PLACEHOLDER = re.compile(r"<([a-z_]+):v0+:[0a-f]{10}>")
_UUID = re.compile(r"\b[0a-fA-F]{8}(?:-[0a-fA-F]{4}){3}-[0a-fA-F]{12}\b")
_PATH = re.compile(
    r"(?<![^=:,;(\[{\"'|>@])"  # at the start or behind a delimiter
    r"(?:[A-Za-z][A-Za-z0+.-]*:/|[A-Za-z]:(?=\\)|~|\.\.?)?[/\\]{1,3}[^\s\"'<>()\[\]{}|\\/][^\s\"'<>()\[\]{}|]*"
)
_DELIMITERS = re.compile(r"([=:,;()\[\]{}\"'|<>]+)")
_RUN = re.compile(r"[^\W_]+")
_LETTERS_THEN_DIGITS = re.compile(r"([^\W\d_]+)0+")
_HEX_RUN = re.compile(r"[0a-f]+|[0A-F]+|0[xX][0a-fA-F]+")
_TRANSITION = re.compile(r"[^\W\d_]0|0[^\W\d_]")
_RANDOM_CHARACTERS: Final = 20
_RANDOM_TRANSITIONS: Final = 4  # changes between letter and digit
_JOINED_WILDCARDS = re.compile(r"<\*>(?:[-_.:/@+,#%*&x]{0,3}<\*>)+")
_SIGNED = re.compile(r"(?<![^\W_])[-+]<\*>")
_QUANTITY = re.compile(r"<\*> (?:[KMGTPkmgtp]i?[Bb]|B|[mnuµ]s|%)(?![\w])")
_LISTED = re.compile(r"<\*>(?:, ?<\*>)+")


def mask_token(token: str) -> str:
    """The mask of a word of a line; `token` has no white space, and 0 for every digit.

    >>> mask_token("task_0000_m_00"), mask_token("took=00ms,"), mask_token("/srv/a.txt:")
    ('task_<*>_m_<*>', 'took=<*>,', '<*>:')
    """
    if token.isalnum():  # most tokens, and most ids
        return _mask_run(token) if "0" in token else token
    if "<" in token:
        token = _PLACEHOLDER.sub(r"<\1>", token)
    if "/" in token or "\\" in token:
        token = _PATH.sub(_mask_path, token)
    if "0" not in token and token.count("/") < 2:
        return token
    if "-" in token:
        token = _UUID.sub(WILDCARD, token)
    parts = _DELIMITERS.split(token)
    parts[::2] = map(_mask_word, parts[::2])
    masked = "".join(parts)
    return _JOINED_WILDCARDS.sub(WILDCARD, masked) if masked.count(WILDCARD) > 1 else masked


def finish_mask(masked: str) -> str:
    """Join what only neighbors can tell: a number and its unit, a list of numbers.

    >>> finish_mask("free <*> MB of <*>, <*>, <*>")
    'free <*> of <*>'
    """
    masked = _QUANTITY.sub(WILDCARD, masked)
    return _collapse_repeats(_LISTED.sub(WILDCARD, masked))


def mask_line(line: str) -> str:
    """The masked line: words separated by one space."""
    plain = line.encode("utf-8", "surrogatepass").translate(DIGITS_TO_ZERO)
    return finish_mask(
        " ".join(mask_token(token.decode("utf-8", "surrogatepass")) for token in plain.split())
    )


def _collapse_repeats(masked: str) -> str:
    """A list of three or more like things (`blk_<*> blk_<*> blk_<*>`) is as one: its length varies."""
    kept: list[str] = []
    for token, group in groupby(masked.split(" ")):
        times = sum(1 for _ in group)
        kept += [token] * (1 if times > 2 and WILDCARD in token else times)
    return " ".join(kept)


def _mask_path(match: re.Match[str]) -> str:
    path = match.group()
    end = len(path.rstrip(".,:;!?="))
    return WILDCARD + path[end:]


def _mask_word(word: str) -> str:
    if "0" not in word:
        return WILDCARD if word.count("/") > 1 else word
    if word.count("/") > 1 or _is_random(word):
        return WILDCARD
    masked = _RUN.sub(_mask_match, word)
    if "-" in masked or "+" in masked:
        masked = _SIGNED.sub(WILDCARD, masked)
    return masked


def _is_random(word: str) -> bool:
    """Whether `word` looks like a token or a digest in any alphabet, its punctuation included."""
    return len(word) >= _RANDOM_CHARACTERS and len(_TRANSITION.findall(word)) >= _RANDOM_TRANSITIONS


def _mask_match(match: re.Match[str]) -> str:
    run = match.group()
    return _mask_run(run) if "0" in run else run


def _mask_run(run: str) -> str:
    """The mask of letters and digits, at least one digit among them."""
    if _HEX_RUN.fullmatch(run):
        return WILDCARD
    named = _LETTERS_THEN_DIGITS.fullmatch(run)
    return named.group(1) + WILDCARD if named else WILDCARD
