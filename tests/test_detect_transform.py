"""DetectAnomalies and WatchRules in Beam: bounded, late, and with rules that change while the job runs."""
# ruff: noqa: E501 - rules read best on one line

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_stream import TestStream
from apache_beam.testing.util import assert_that
from apache_beam.transforms.window import TimestampedValue

from pipeline.operator_files import FileUnreadableError
from pipeline.rules_source import WatchRules, read_rules
from transforms.coders import StructCoder, register_coders
from transforms.detect.history import TrackHistory
from transforms.detect.rule_loading import RulesError, builtin_rules, load_rules
from transforms.detect.rules import evaluate_rules
from transforms.detect.transform import DetectAnomalies, WatchServices
from transforms.elements import Anomaly, WindowSummary

register_coders()

START_SECOND = 1_767_225_600
RULES = (
    "extends: none\nrules:\n"
    "  - {{name: many, type: error_spike, description: '{{errors}} errors', when: errors >= {least}, repeat: 1m}}\n"
)


def window(minute: int, errors: int, service: str = "s", pane: int = 0) -> WindowSummary:
    start_us = (START_SECOND + 60 * minute) * 1_000_000
    return WindowSummary("t", service, start_us, 60, lines=100, errors=errors, pane_index=pane)


def timestamped(summary: WindowSummary) -> TimestampedValue:
    end = summary.window_start_us / 1_000_000 + 59.999
    return TimestampedValue((summary.tenant_id + "/" + summary.service, summary), end)


class _Collect(beam.DoFn):
    """Writes what comes to a file: metrics and globals are not to be trusted on local runners."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def process(self, anomaly: Anomaly) -> None:
        with Path(self._path).open("a") as file:
            file.write(
                f"{anomaly.window_start // 60_000_000 % 60} {anomaly.rules_version} {anomaly.status}\n"
            )


@pytest.mark.parametrize("repeat", [0, 2])
def test_over_bounded_input_the_job_finds_what_the_function_finds(repeat: int) -> None:
    """Shuffled windows of several services give the anomalies of each service in order."""
    book = load_rules(
        RULES.format(least=10)
        + "  - {name: last, type: error_spike, description: x, when: errors >= 4, for: 3m}\n"
    )
    windows = [window(minute, (minute * 7 + n) % 13, f"s{n}") for minute in range(20) for n in range(3)]
    expected: list[Anomaly] = []
    for n in range(3):
        step = TrackHistory()
        state = step.initial()
        for summary in (one for one in windows if one.service == f"s{n}"):
            for history in step.step(state, summary, is_late=False):
                expected += evaluate_rules(book, history)
    assert expected

    def check(found: list[Anomaly]) -> None:
        assert sorted(found, key=lambda one: one.anomaly_id) == sorted(
            expected, key=lambda one: one.anomaly_id
        )

    options = PipelineOptions([f"--direct_runner_bundle_repeat={repeat}"])
    with beam.Pipeline(runner=FnApiRunner(bundle_repeat=repeat), options=options) as root:
        rules = root | "Rules" >> beam.Create([book])
        found = (
            root
            | beam.Create(windows[::-1])
            | beam.Map(timestamped)
            | WatchServices()
            | DetectAnomalies(rules)
        )
        assert_that(found, check)


def test_the_newest_rules_count() -> None:
    """Of several books the one that was read last is in force, whatever their order."""
    old, new = load_rules(RULES.format(least=10)), load_rules(RULES.format(least=20))
    new = type(new)(new.rules, new.version, loaded_at_us=5)

    def check(found: list[Anomaly]) -> None:
        assert [one.rules_version for one in found] == [new.version]

    with beam.Pipeline(runner=FnApiRunner()) as root:
        rules = root | "Rules" >> beam.Create([new, old])
        found = (
            root
            | beam.Create([window(0, 15), window(1, 25)])
            | beam.Map(timestamped)
            | WatchServices()
            | DetectAnomalies(rules)
        )
        assert_that(found, check)


class _ChangeRules(beam.DoFn):
    """Changes the rules file when a window with a note comes by."""

    def __init__(self, path: Path, contents: dict[int, str]) -> None:
        self._path, self._contents = str(path), contents

    def process(self, element: tuple[str, WindowSummary]) -> Any:
        minute = element[1].window_start_us // 60_000_000 % 60
        if minute in self._contents:
            Path(self._path).write_text(self._contents[minute])
        yield element


def test_a_running_job_takes_new_rules(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Rules that change in the file are in force for later windows; wrong ones are logged and left out."""
    path, out = tmp_path / "rules.yaml", tmp_path / "out"
    path.write_text(RULES.format(least=10))
    changes = {
        2: RULES.format(least=1),
        4: RULES.format(least=1).replace("errors >=", "eror >="),
        6: RULES.format(least=2),
    }
    stream = TestStream(
        coder=beam.coders.TupleCoder((beam.coders.StrUtf8Coder(), StructCoder(WindowSummary)))
    )
    now = int(time.time())
    for minute in range(8):
        stream = (
            stream.add_elements([timestamped(window(minute, 5))])
            .advance_watermark_to(START_SECOND + 60 * minute + 60)
            .advance_processing_time(now + 3600 if minute == 0 else 61)
        )
    options = PipelineOptions(["--streaming"])
    with (
        caplog.at_level(logging.INFO),
        beam.Pipeline(runner=BundleBasedDirectRunner(), options=options) as root,
    ):
        rules = root | "ReadRules" >> WatchRules(str(path), interval_seconds=60, streaming=True)
        windows = root | stream.advance_watermark_to_infinity() | beam.ParDo(_ChangeRules(path, changes))
        _ = windows | WatchServices() | DetectAnomalies(rules) | beam.ParDo(_Collect(out))
    least_one, least_two = (load_rules(RULES.format(least=least)).version for least in (1, 2))
    found = [line.split()[:2] for line in out.read_text().splitlines()]
    assert [minute for minute, _ in found] == ["3", "4", "5", "6", "7"]
    assert [version for _, version in found] == [least_one] * 4 + [least_two]
    assert 'rule "many": unknown field "eror" in when; did you mean "errors"?' in caplog.text


def test_late_panes_withdraw_in_the_job(tmp_path: Path) -> None:
    """A late pane without the errors withdraws the anomaly."""
    out = tmp_path / "out"
    stream = TestStream(
        coder=beam.coders.TupleCoder((beam.coders.StrUtf8Coder(), StructCoder(WindowSummary)))
    )
    for value, watermark in ((window(0, 20), 60), (window(1, 0), 120), (window(0, 5, pane=1), 180)):
        stream = stream.add_elements([timestamped(value)]).advance_watermark_to(START_SECOND + watermark)
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=PipelineOptions(["--streaming"])) as root:
        rules = root | "Rules" >> beam.Create([load_rules(RULES.format(least=10))])
        _ = (
            root
            | stream.advance_watermark_to_infinity()
            | WatchServices()
            | DetectAnomalies(rules)
            | beam.ParDo(_Collect(out))
        )
    assert [line.split()[2] for line in out.read_text().splitlines()] == ["open", "withdrawn"]


def test_the_graph_for_dataflow_can_be_built(tmp_path: Path) -> None:
    """On other runners the file is read again on impulses, and the graph can be sent to them."""
    path = tmp_path / "rules.yaml"
    path.write_text(RULES.format(least=10))
    root = beam.Pipeline(runner=FnApiRunner())
    rules = root | "ReadRules" >> WatchRules(str(path), streaming=True)
    assert not rules.is_bounded
    _ = root | beam.Create([window(0, 1)]) | beam.Map(timestamped) | WatchServices() | DetectAnomalies(rules)
    assert "Reread" in str(root.to_runner_api())


def test_wrong_rules_stop_the_launch(tmp_path: Path) -> None:
    """A job does not start with rules that are wrong or missing."""
    path = tmp_path / "rules.yaml"
    path.write_text("rules: [{name: a}]")
    with pytest.raises(RulesError, match="type is missing"):
        _ = beam.Pipeline(runner=FnApiRunner()) | WatchRules(str(path))
    with pytest.raises(FileUnreadableError, match="check the path"):
        _ = beam.Pipeline(runner=FnApiRunner()) | WatchRules(str(tmp_path / "none.yaml"))
    assert read_rules("") == builtin_rules()
