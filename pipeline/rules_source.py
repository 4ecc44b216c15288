"""Where the rules come from: the built-in pack, a file, or a file that is watched while the job runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
import msgspec
from apache_beam.transforms.trigger import AccumulationMode, AfterCount, Repeatedly
from apache_beam.transforms.window import GlobalWindows

from pipeline.operator_files import FileUnreadableError, read_operator_file
from pipeline.ticks import EmitTicks
from transforms.clock import wall_clock_us
from transforms.detect.rule_loading import RulesError, builtin_rules, load_rules
from transforms.detect.rule_model import MAX_FILE_BYTES, RuleBook

_LOGGER = logging.getLogger(__name__)


def read_rules(path: str) -> RuleBook:
    """The rules of a local file or gs:// object; the built-in pack where `path` is empty.

    Raises FileUnreadableError, or RulesError with every problem in the file.
    """
    if not path:
        return builtin_rules()
    text = read_operator_file(path, "rules file", "--rules", "the built-in rules", MAX_FILE_BYTES)
    book = load_rules(text, path)
    return msgspec.structs.replace(book, loaded_at_us=wall_clock_us())


@dataclass(eq=False)
class WatchRules(beam.PTransform):
    """A collection of RuleBook in the global window for DetectAnomalies, read at launch.

    With `streaming` the file is read again every `interval_seconds` and a changed book is added; a
    file that became invalid or vanished is logged, and the last good rules stay in force. Building
    the graph raises what `read_rules` raises: a job does not start with rules that are wrong.
    """

    path: str = ""
    interval_seconds: float = 60
    streaming: bool = False

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection:
        book = read_rules(self.path)
        if not self.streaming or not self.path:
            return root | "AtLaunch" >> beam.Create([book])
        ticks = root | "Ticks" >> EmitTicks("rules", self.interval_seconds)
        changed = ticks | "Reread" >> beam.ParDo(_RereadOnTick(self.path, book))
        return (
            (root | "AtLaunch" >> beam.Create([book]), changed)
            | beam.Flatten()
            | beam.WindowInto(
                GlobalWindows(),
                trigger=Repeatedly(AfterCount(1)),
                accumulation_mode=AccumulationMode.DISCARDING,
            )
        )


def _reread(path: str, known_version: str) -> RuleBook | None:
    """The book if it is a new one; None if it is the known one, or not usable, which is logged."""
    try:
        book = read_rules(path)
    except FileUnreadableError as error:
        _LOGGER.warning("%s The rules in force stay.", error)
        return None
    except RulesError as error:
        _LOGGER.warning("The rules in force stay, because the changed file has problems:\n%s", error)
        return None
    if book.version == known_version:
        return None
    _LOGGER.info("New rules are in force: %s, version %s", path, book.version)
    return book


class _RereadOnTick(beam.DoFn):
    """What was read last is remembered per worker: a new worker at most repeats a book."""

    def __init__(self, path: str, book: RuleBook) -> None:
        self._path = path
        self._version = book.version

    def process(self, element: object) -> Iterator[RuleBook]:  # noqa: ARG002
        if (book := _reread(self._path, self._version)) is not None:
            self._version = book.version
            yield book
