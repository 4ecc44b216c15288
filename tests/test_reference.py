"""Pages that are made from the code: the picture of the graph, the options, the fields of messages."""

from __future__ import annotations

import re

import pytest

from pipeline.bigquery_rows import FAILED_ROWS
from pipeline.diagram import every_stream, job_flowchart
from pipeline.options import parse_options
from pipeline.reference import MESSAGES, fields_table, options_page, with_part
from pipeline.settings import Settings
from pipeline.tables import TABLES

NODES = dict(re.findall(r'^    (\w+)\W+"(\w+)', job_flowchart(), re.MULTILINE))
ARROWS = set(re.findall(r"^  (\w+) --> (\w+)$", job_flowchart(), re.MULTILINE))


def test_the_picture_shows_a_job_with_everything_switched_on() -> None:
    """No switch is off, no subscription and no topic is left out."""
    settings, _ = parse_options(every_stream())
    for name, field in Settings.model_fields.items():
        if name.endswith(("_subscription", "_topic")) or field.annotation is bool:
            assert getattr(settings, name), name


def test_the_picture_can_be_taken_in() -> None:
    """All that rows are made of and the tables they go to, in so many boxes as a page has room for."""
    assert 20 <= len(NODES) <= 36
    assert {"ReadLogs", "ParseLogEntries", "ManageAlerts", "PublishAlertEvents"} <= NODES.keys()
    drawn = {name for names in re.findall("<i>(.*?)</i>", job_flowchart()) for name in names.split(", ")}
    assert drawn | {FAILED_ROWS} == set(TABLES), "rows that BigQuery does not take come of all steps"


def test_the_picture_has_the_arrows_of_the_graph() -> None:
    """Each arrow joins two boxes; what only stores rows has none, and a Flatten is passed through."""
    assert {end for arrow in ARROWS for end in arrow} == NODES.keys()
    for arrow in (
        ("ParseLogEntries", "RedactLogBatches"),
        ("DetectAnomalies", "ManageAlerts"),
        ("AnalyzeWithGemini", "ManageAlerts"),
        ("AnalyzeWithGemini", "PublishAnomalies"),
    ):
        assert arrow in ARROWS
    assert "PublishAnomalies" not in {first for first, _ in ARROWS}
    assert {last for first, last in ARROWS if first == "ManageAlerts"} == {"PublishAlertEvents"}


def test_every_option_has_a_row_with_its_default() -> None:
    """In the words of `--help`, with the limits of numbers."""
    rows = {line.split("`")[1]: line for line in options_page().splitlines() if line.startswith("| `")}
    assert rows.keys() == Settings.model_fields.keys()
    assert "| `60` | 10 to 600 |" in rows["window_seconds"]
    assert "| `off` | `off`, `exact` |" in rows["deduplicate"]
    assert "| `false` | `true`, `false` |" in rows["enable_gemini_analysis"]


@pytest.mark.parametrize("name", MESSAGES)
def test_every_field_of_a_message_has_a_row(name: str) -> None:
    """In the order of the message, each with its type and its meaning."""
    rows = [line.split(" | ") for line in fields_table(MESSAGES[name]).splitlines()[2:]]
    assert all(len(row) == 3 and row[1] and row[2].strip(" |") for row in rows)
    outer = [row[0].strip("| `") for row in rows if "." not in row[0]]
    assert outer == list(MESSAGES[name].__struct_fields__)


def test_objects_lists_and_times_are_told_apart() -> None:
    """Fields of an object stand under its name, those of a list under their place."""
    table = fields_table(MESSAGES["anomaly"])
    assert "| `window_start` | microseconds |" in table
    assert "| `metrics.baseline` | number, or null |" in table
    assert "| `evidence.examples.3` | text | The line, redacted. |" in table


def test_a_part_is_put_between_its_markers() -> None:
    """Putting it there again changes nothing, and all else of the page stays."""
    page = "before\n<!-- made: x -->\nold\n<!-- end: x -->\nafter\n"
    once = with_part(page, "x", "new\n")
    assert once == "before\n<!-- made: x -->\n\nnew\n\n<!-- end: x -->\nafter\n"
    assert with_part(once, "x", "new\n") == once


@pytest.mark.parametrize("page", ["", "<!-- made: x -->\n", "<!-- end: x -->\n<!-- made: x -->\n"])
def test_a_page_without_markers_is_refused(page: str) -> None:
    """A part that would vanish unseen names the markers that are missing."""
    with pytest.raises(ValueError, match="made: x"):
        with_part(page, "x", "new\n")
