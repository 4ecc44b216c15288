"""How many tokens a text is, estimated: the tokenizer of the model is not at hand.

A token for each five letters of a word begun, one for each digit and each other mark, none for a lone
space. It is exact in no case and meant to err on the high side; what is billed is in `gemini_calls`.
"""

from __future__ import annotations

import re
from typing import Final

LETTERS_A_TOKEN: Final = 5
_PIECE: Final = re.compile(r"[A-Za-z]+|\s+|.", re.DOTALL)


def estimate_tokens(text: str) -> int:
    """Tokens of `text`; 0 for nothing."""
    total = 0
    for piece in _PIECE.findall(text):
        if piece.isspace():
            total += piece != " "
        else:
            total += -(-len(piece) // LETTERS_A_TOKEN)
    return total
