"""The benchmark reads any folder of that layout and scores as defined."""

from __future__ import annotations

import csv
import json

import pytest

from benchmarks import patterns as benchmark

ROWS = [
    ("paid order 17 of ana", "E1"),
    ("paid order 18 of ben", "E1"),
    ("stock of item 4 is low", "E2"),
    ("paid order 20 of cleo", "E1"),
    ("stock of item 9 is low", "E2"),
    ("closing", "E3"),
]


@pytest.fixture
def folder(tmp_path):
    target = tmp_path / "logs" / "Shop"
    target.mkdir(parents=True)
    with (target / "Shop_2k.log_structured.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["LineId", "Content", "EventId"])
        writer.writerows((number, *row) for number, row in enumerate(ROWS, 1))
    return tmp_path / "logs"


def test_a_folder_is_mined_scored_and_written(folder, tmp_path, capsys):
    """Predictions have one row a line, and the averages are printed."""
    assert benchmark.main([str(folder), "--out", str(tmp_path / "out"), "--no-rival", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    # "of ana", "of ben", "of cleo" are too few for a variable: E2 and E3 are right, E1 is in three parts
    assert result["sets"]["Shop"] == {"lines": 6, "patterns": 5, "GA": 0.5, "FGA": 0.5}
    assert result["sets"]["average"] == {"GA": 0.5, "FGA": 0.5}
    assert result["speed"]["all"]["lines_per_second"] > 0
    with (tmp_path / "out" / "Shop.csv").open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["LineId"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert rows[2]["template"] == rows[4]["template"] == "stock of item <*> is low"
    assert rows[2]["template_id"] == rows[4]["template_id"] != rows[5]["template_id"]


def test_the_table_names_what_it_shows(folder, capsys):
    """Without --json a table for people is printed."""
    assert benchmark.main([str(folder), "--no-rival"]) == 0
    assert "average" in capsys.readouterr().out


def test_a_folder_without_sets_is_refused(tmp_path, capsys):
    """The error says what was looked for."""
    with pytest.raises(SystemExit):
        benchmark.main([str(tmp_path), "--no-rival"])
    assert "_2k.log_structured.csv" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("predicted", "true", "ga", "fga"),
    [("aabb", "xxyy", 1, 1), ("aabc", "xxyy", 0.5, 0.4), ("aaaa", "xxyy", 0, 0), ("abcd", "xxyy", 0, 0)],
)
def test_accuracy_counts_groups_that_are_exactly_right(predicted, true, ga, fga):
    """A group that is split or mixed counts nothing, in GA by lines and in FGA by groups."""
    assert benchmark.score(list(predicted), list(true)) == pytest.approx((ga, fga))
