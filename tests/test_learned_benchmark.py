"""The benchmark of learned detection: its scenarios, its figures, the kept windows, and the calibration."""

from __future__ import annotations

import json
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiops.simulate.config import SimulationConfig
from aiops.simulate.faults import read_truth
from aiops.simulate.generator import simulate, truth
from aiops.simulate.matching import match_faults
from aiops.stored_windows import read_summaries as read_stored
from benchmarks import calibration, learned
from benchmarks.calibration import Verdict, expected_calibration_error, measure_reliability, wilson_interval
from benchmarks.detection_report import as_text, summarize
from benchmarks.simulated import Measured, find_runs, hold_against_truth, read_measured, write_facts
from benchmarks.summaries import read_summaries, summarize_lines, write_summaries
from pipeline.duckdb_store import DuckDBStore
from pipeline.main import run
from transforms.summarize.gaps import GAP_PANE

HOUR = 3600
SMALL = [
    "--seeds",
    "2",
    "--days",
    "0.01",
    "--faults",
    "2",
    "--rate",
    "60",
    "--jobs",
    "1",
    "--first-seed",
    "3",
]
CONFIG = SimulationConfig(tenants=1, faults="errors@payment+10m/5m,silence@catalog+20m/5m", rate=60)


# --------------------------------------------------------------------------------------- the runs


def test_seeds_are_simulated_run_and_reported(tmp_path, capsys):
    """Every seed goes through the whole job; its store and truth are kept, and can be read again."""
    learned.main([*SMALL, "--keep", str(tmp_path), "--json"])
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert result["seeds"] == 2
    assert result["unbalanced_seeds"] == []
    assert result["recall"][1] + result["without_a_trace"][1] == 4
    assert "seed 3: " in said.err
    kept = [read_measured(folder) for folder in find_runs([tmp_path])]
    assert [run.config.seed for run in kept] == [3, 4]
    again = summarize(kept)
    for name in ("recall_by_type", "without_a_trace", "delay_windows", "false", "missed"):
        assert again[name] == result[name]
    assert not list(tmp_path.glob("*/logs*"))


def test_scenarios_vary_and_have_a_weekend():
    """Tenants, time zones, first days and nights vary with the seed; every default run meets a weekend."""
    from aiops.simulate.rhythm import is_weekend, make_tenants

    options = learned._read_options([])
    configs = [learned.scenario(seed, options) for seed in range(1, 21)]
    assert {config.first_tenant for config in configs} == {1, 2, 3, 4, 5}
    assert len({config.start for config in configs}) == 2
    assert sum(config.quiet_nights for config in configs) == 10
    for config in configs:
        (tenant,) = make_tenants(1, config.first_tenant)
        assert sum(
            is_weekend(tenant, second) for second in range(config.start_second, config.end_second, HOUR)
        )


@pytest.mark.parametrize(
    ("options", "says"),
    [(["--seeds", "0"], "--seeds"), (["--days", "0"], "duration"), (["--faults", "99999"], "up to 10000")],
)
def test_wrong_options_are_refused(options, says, capsys):
    """What cannot be simulated is said before anything runs."""
    with pytest.raises(SystemExit):
        learned.main(options)
    assert says in capsys.readouterr().err


# --------------------------------------------------------------------------------- kept windows


def test_kept_windows_are_those_of_the_job(tmp_path):
    """Counts, patterns and gaps of the shortcut are what the whole job writes into its store."""
    lines = list(
        simulate(replace(CONFIG, quiet_nights=True, start="2026-01-13T03:40:00Z", duration_seconds=2100))
    )
    logs, store = tmp_path / "logs.ndjson", tmp_path / "store.duckdb"
    logs.write_bytes(b"\n".join(lines))
    run(["--input", str(logs), "--store", str(store)])
    with DuckDBStore(str(store), read_only=True) as opened:
        stored = {
            (summary.service, summary.window_start_us): summary for summary in read_stored(opened._connection)
        }
    ours = {(summary.service, summary.window_start_us): summary for summary in summarize_lines(lines)}
    assert ours.keys() == stored.keys()
    assert any(summary.pane_index == GAP_PANE for summary in ours.values())
    for key, summary in ours.items():
        other = stored[key]
        assert (summary.lines, summary.errors, summary.statuses) == (
            other.lines,
            other.errors,
            other.statuses,
        )
        assert {name: (stats.count, stats.is_new) for name, stats in summary.patterns.items()} == {
            name: (stats.count, stats.is_new) for name, stats in other.patterns.items()
        }


def test_windows_are_read_as_they_were_written(tmp_path):
    """A file of windows gives back equal windows in the same order, each service's in that of time."""
    summaries = list(summarize_lines(simulate(replace(CONFIG, duration_seconds=300, faults="none"))))
    path = tmp_path / "summaries"
    assert write_summaries(path, summaries) == len(summaries) > 0
    assert list(read_summaries(path)) == summaries
    for service in {summary.service for summary in summaries}:
        starts = [summary.window_start_us for summary in summaries if summary.service == service]
        assert starts == sorted(set(starts))


def test_summaries_are_written_without_a_job(tmp_path, capsys):
    """`--summaries` leaves windows, truth and config of each seed, and no store."""
    learned.main([*SMALL, "--summaries", str(tmp_path)])
    assert capsys.readouterr().out == ""
    for seed in (3, 4):
        folder = tmp_path / str(seed)
        assert sorted(path.name for path in folder.iterdir()) == [
            "config.json",
            "fault_lines.json",
            "summaries.msgpack",
            "truth.ndjson",
        ]
        assert len(list(read_truth((folder / "truth.ndjson").read_bytes().splitlines()))) == 2
        assert next(read_summaries(folder / "summaries.msgpack")).lines > 0


# ------------------------------------------------------------------------------------ the figures


def anomaly(service: str, minute: int, **changes: object) -> dict[str, object]:
    start = (CONFIG.start_second + minute * 60) * 1_000_000
    return {
        "anomaly_id": f"{service} {minute}",
        "tenant_id": "acme-shop",
        "service": service,
        "anomaly_type": "error_spike",
        "anomaly_severity": "high",
        "detector": "rule:errors",
        "signal": "error_rate",
        "confidence_score": 0.9,
        "below_confidence_floor": False,
        "description": "many errors",
        "window_start": start,
        "window_end": start + 60_000_000,
        **changes,
    }


ANOMALIES = [
    anomaly("payment", 11),
    anomaly("cart", 11, anomaly_severity="critical", below_confidence_floor=True),
    anomaly("cart", 12, anomaly_severity="low"),
]


def measured(silence_lines: int = 100, quiet_nights: bool = False) -> Measured:
    errors, silence = (fault.fault_id for fault in truth(CONFIG))
    return Measured(
        replace(CONFIG, quiet_nights=quiet_nights),
        match_faults(truth(CONFIG), ANOMALIES),
        ANOMALIES,
        balanced=True,
        entries=1000,
        fault_lines={errors: 100, silence: silence_lines},
    )


def test_recall_counts_faults_that_left_a_trace():
    """Found of visible, in all and by type; what left no trace is counted apart and never missed."""
    result = summarize([measured(), measured(silence_lines=3)])
    assert result["recall"] == [2, 3]
    assert result["recall_by_type"] == {"errors": [2, 2], "silence": [0, 1]}
    assert result["recall_by_detectable_by"] == {"learned": [0, 1], "rules": [2, 2]}
    assert result["recall_by_day"] == {"day 1": [2, 3]}
    assert result["recall_by_day_and_detectable_by"] == {"day 1, learned": [0, 1], "day 1, rules": [2, 2]}
    assert result["without_a_trace"] == [0, 1]
    assert result["delay_windows"] == {"median": 2.0, "p90": 2.0}
    assert [one["lines"] for one in result["missed"]] == [100]


def test_false_anomalies_are_counted_per_tenant_and_week():
    """By severity and kind, with the runs of quiet nights apart from the others."""
    result = summarize([measured(), measured(quiet_nights=True), measured(quiet_nights=True)])
    false, weeks = result["false"], 3 * 1800 / (7 * 86_400)
    assert false["by_severity"] == {"low": 3, "medium": 0, "high": 0, "critical": 3}
    assert false["severe_per_tenant_week"] == pytest.approx(3 / weeks, rel=0.01)
    assert false["severe_above_floor_per_tenant_week"] == 0
    assert false["worst"][0]["anomaly_severity"] == "critical"
    assert result["false_where_nights_are_quiet"]["by_severity"]["low"] == 2
    assert result["false_elsewhere"]["by_severity"]["low"] == 1
    text = as_text(result)
    assert "2 of" not in text.splitlines()[0]
    assert "critical rule:errors error_rate error_spike" in text


def test_any_detector_can_be_held_against_a_kept_truth(tmp_path):
    """Anomalies from elsewhere are matched with the truth of a folder."""
    errors, silence = (fault.fault_id for fault in truth(CONFIG))
    write_facts(tmp_path, CONFIG, {errors: 100, silence: 100})
    assert hold_against_truth(tmp_path, ANOMALIES).report == measured().report


# ------------------------------------------------------------------------------------ calibration


def test_bins_say_how_often_a_confidence_is_true():
    """Count, mean confidence and share of each bin; the error weighs their distances by the counts."""
    verdicts = [Verdict(0.7, "a", "silence", is_true) for is_true in (True, False)]
    verdicts += [Verdict(1.0, "a", "silence", True)] * 2
    low, high = measure_reliability(verdicts, 10)
    assert (low.low, low.count, low.mean_confidence, low.share_true) == (0.7, 2, 0.7, 0.5)
    assert (high.low, high.high, high.count, high.share_true) == (0.9, 1.0, 2, 1.0)
    assert expected_calibration_error([low, high]) == pytest.approx(0.1)
    assert expected_calibration_error([]) is None


@given(st.integers(0, 300), st.integers(0, 300))
def test_a_wilson_interval_holds_the_share(true, false):
    """It lies within 0 and 1 around the share, and more observations make it narrower."""
    low, high = wilson_interval(true, true + false)
    assert 0 <= low < high <= 1
    if true + false:
        assert low - 1e-9 <= true / (true + false) <= high + 1e-9
        more = wilson_interval(4 * true, 4 * (true + false))
        assert more[1] - more[0] < high - low


def test_a_wilson_interval_is_the_textbooks():
    """Eight of ten: 0.490 to 0.943."""
    assert wilson_interval(8, 10) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=50), st.integers(1, 30))
def test_every_anomaly_is_in_one_bin(pairs, bins):
    """Counts add up, and each bin's mean confidence lies in it."""
    table = measure_reliability((Verdict(score, "a", "b", is_true) for score, is_true in pairs), bins)
    assert sum(one.count for one in table) == len(pairs)
    assert all(one.low - 1e-6 <= one.mean_confidence <= one.high + 1e-6 for one in table)


def test_calibration_reads_kept_runs(tmp_path, capsys):
    """A table in all and one for each type; a folder without runs is refused."""
    folder = tmp_path / "1"
    folder.mkdir()
    logs = folder / "logs.ndjson"
    logs.write_bytes(b"\n".join(simulate(CONFIG)))
    run(["--input", str(logs), "--store", str(folder / "store.duckdb")])
    write_facts(folder, CONFIG, {fault.fault_id: 100 for fault in truth(CONFIG)})
    calibration.main([str(tmp_path), "--by", "type", "--json"])
    result = orjson.loads(capsys.readouterr().out)
    assert result["all"]["count"] > 0
    assert result["error_spike"]["bins"][-1]["share_true"] == 1.0
    calibration.main([str(tmp_path), "--detector", "rule:"])
    assert "expected calibration error" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        calibration.main([str(tmp_path / "nowhere")])
    assert "--keep" in capsys.readouterr().err
