"""Where prices of Gemini come from: one YAML file, read once at launch."""

from __future__ import annotations

from typing import Final

import yaml

from pipeline.operator_files import read_operator_file
from transforms.analyze.prices import DEFAULT_PRICES, Price, read_prices

MAX_FILE_BYTES: Final = 1 << 16


class PricesError(Exception):
    """A price file that cannot be used; the message names the entry and the mend."""


def read_price_file(path: str) -> tuple[Price, ...]:
    """Prices in a local file or gs:// object; list prices where `path` is empty.

    Raises FileUnreadableError, or PricesError.
    """
    if not path:
        return DEFAULT_PRICES
    text = read_operator_file(path, "price file", "--gemini_prices", "list prices", MAX_FILE_BYTES)
    try:
        return read_prices(yaml.safe_load(text[:MAX_FILE_BYTES]))
    except ValueError as error:
        raise PricesError(f"{path}: {error}") from None
    except (yaml.YAMLError, RecursionError):
        raise PricesError(f"{path}: is no YAML; write a list of model, from, input, output") from None
