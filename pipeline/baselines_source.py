"""Where the configuration of learned detection comes from: one file, read once at launch."""

from __future__ import annotations

from pipeline.operator_files import read_operator_file
from transforms.detect.baselines.book import BaselineBook
from transforms.detect.baselines.book_loading import load_book
from transforms.detect.rule_model import MAX_FILE_BYTES


def read_baselines(path: str) -> BaselineBook:
    """The book in a local file or gs:// object; the empty book, all defaults, where `path` is empty.

    Raises FileUnreadableError, or BookError with every problem in the file.
    """
    if not path:
        return load_book("")
    text = read_operator_file(path, "baselines file", "--baselines", "the defaults", MAX_FILE_BYTES)
    return load_book(text, path)
