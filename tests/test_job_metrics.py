"""What the job counts about itself: one list, which code, docs and alert policies all keep to."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, get_args

import apache_beam as beam
import msgspec
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipeline.graph import build_alerts_graph, build_graph, build_incidents_graph
from pipeline.job_metrics_page import job_metrics_page
from pipeline.rules_source import WatchRules
from pipeline.settings import Settings
from pipeline.stage_settings import graph_settings
from transforms.elements import DeadLetter, PayloadBatch, UnpackReason
from transforms.job_metrics import (
    DEAD_LETTER_REASONS,
    JOB_METRICS,
    KINDS,
    NAMESPACE,
    dead_letter_metric,
    exported_names,
)
from transforms.metering import count, count_dead_letters, observe
from transforms.metrics.raw import Reason as MetricReason
from transforms.parse.raw import Reason as LineReason

ROOT = Path(__file__).resolve().parent.parent
MONITORING = (ROOT / "terraform" / "monitoring.tf").read_text(encoding="utf-8")
COUNTING = {"count", "observe", "observe_age", "timed", "count_received"}


def metrics_of(root: beam.Pipeline) -> dict[str, Any]:
    """Counters as sums, distributions as results, over all steps."""
    result = root.run()
    result.wait_until_finish()
    found: dict[str, Any] = {}
    for kind in ("counters", "distributions"):
        for one in result.metrics().query()[kind]:
            if one.key.metric.namespace == NAMESPACE:
                name, value = one.key.metric.name, one.committed
                found[name] = found.get(name, 0) + value if kind == "counters" else value
    return found


# ------------------------------------------------------------------------------------- the list


def test_names_are_unique_and_fit_into_a_project() -> None:
    """Dataflow gives a project 100 of them, and makes four of a distribution; units are in their names."""
    assert len(KINDS) == len(JOB_METRICS)
    assert len(set(exported_names())) == len(exported_names()) <= 100
    for metric in JOB_METRICS:
        assert re.fullmatch(r"[a-z][a-z0-9_]+", metric.name)
        assert metric.meaning.endswith((".", "…"))
        ending = {"microseconds": "_us", "milliseconds": "_ms"}.get(metric.unit)
        assert (metric.kind == "distribution") == (ending is not None)
        assert ending is None or metric.name.endswith(ending)


def test_reasons_of_dead_letters_are_bounded() -> None:
    """Each reason of lines and points has a counter of its own, whatever else comes shares one."""
    reasons = {*get_args(LineReason), *get_args(MetricReason), *get_args(UnpackReason)}
    assert reasons <= set(DEAD_LETTER_REASONS)
    assert dead_letter_metric("not_json") == "dead_letters_not_json"
    assert dead_letter_metric("password=hunter2") == "dead_letters_other"


def test_the_code_counts_what_is_in_the_list_and_all_of_it() -> None:
    """Every name that is counted is listed, and every listed one is counted somewhere."""
    named: set[str] = set()
    for room in ("transforms", "pipeline"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") in COUNTING:
                    named |= {
                        text.value for text in ast.walk(node.args[0])
                        if isinstance(text, ast.Constant) and isinstance(text.value, str)
                    }  # fmt: skip
    named -= {"failed"}  # the outcome of a call, beside the names that it leads to
    named |= {dead_letter_metric(reason) for reason in (*DEAD_LETTER_REASONS, "unheard of")}
    named = {name for name in named if name != "gemini_windows_"} | {
        f"gemini_windows_{outcome}" for outcome in ("cached", "skipped")
    }
    assert named == set(KINDS)


def test_what_is_not_in_the_list_cannot_be_counted() -> None:
    """A name that nobody documented, or of the other kind, is an error at its first use."""
    for wrong in (lambda: count("lines_"), lambda: count("parse_us"), lambda: observe("lines", 1)):
        with pytest.raises(KeyError):
            wrong()


def test_the_page_says_all_of_the_list() -> None:
    """docs/job-metrics.md is made from it; make generate renews it."""
    assert (ROOT / "docs" / "job-metrics.md").read_text(encoding="utf-8") == job_metrics_page()


# ------------------------------------------------------------------------------------- counting


class CountLetters(beam.DoFn):
    def process(self, letters: list[DeadLetter]) -> None:
        count_dead_letters(letters)


def letter(reason: str, number: int) -> DeadLetter:
    return DeadLetter("d", "acme", "parse", reason, "", "", 1, 0, number)


def test_dead_letters_are_counted_in_all_and_by_reason() -> None:
    """One that stands for many counts as many; a batch without any makes the counter known."""
    root = beam.Pipeline(runner=FnApiRunner())
    batches = [[letter("not_json", 2), letter("not_json", 1), letter("odd", 4)], []]
    _ = root | beam.Create(batches) | beam.ParDo(CountLetters())
    expected = {"dead_letters": 7, "dead_letters_not_json": 3, "dead_letters_other": 4}
    assert metrics_of(root) == expected
    root = beam.Pipeline(runner=FnApiRunner())
    _ = root | beam.Create([[]]) | beam.ParDo(CountLetters())
    assert metrics_of(root) == {"dead_letters": 0}


def line(number: int, **others: object) -> bytes:
    return msgspec.json.encode(
        {
            "insertId": f"i{number}",
            "logName": "projects/acme/logs/stdout",
            "timestamp": "2026-01-12T14:00:30Z",
            "receiveTimestamp": "2026-01-12T14:00:31Z",
            "severity": "ERROR",
            "resource": {"type": "cloud_run_revision", "labels": {"service_name": "cart"}},
            "textPayload": "checkout failed",
            **others,
        }
    )


class Payloads(beam.PTransform):
    def __init__(self, payloads: list[bytes]) -> None:
        super().__init__()
        self._payloads = payloads

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection:
        return root | beam.Create([PayloadBatch(self._payloads)])


def test_a_run_counts_what_it_did() -> None:
    """Lines, bytes, late, filtered, dead letters, windows, anomalies, incidents and alert events of a run."""
    lines = [line(number) for number in range(30)]
    lines += [line(number, receiveTimestamp="2026-01-12T14:20:00Z") for number in range(2)]  # late
    lines += [line(number, severity="DEBUG") for number in range(3)]  # filtered
    lines += [b"{", b"[]", b"{"]
    root = beam.Pipeline(runner=FnApiRunner())
    settings = graph_settings(Settings(input=["-"], received_at="2026-01-12T14:00:00Z", min_severity="INFO"))
    outputs = build_graph(root, Payloads(lines), WatchRules(), settings)
    incidents = build_incidents_graph([outputs], settings)
    build_alerts_graph(root, [outputs.anomalies], settings, incidents.incidents)
    found = metrics_of(root)
    anomalies = found["anomalies"]
    assert anomalies >= 1
    assert found["alert_events"] >= 1
    assert found.items() >= {
        "lines": 38, "bytes": sum(map(len, lines)), "late_lines": 2, "filtered_lines": 3,
        "dead_letters": 3, "dead_letters_not_json": 2, "dead_letters_not_an_object": 1,
        "windows": 1, "incidents": 1,
    }.items()  # fmt: skip
    delays = [found[f"{name}_delay_ms"] for name in ("anomaly", "incident", "alert_event")]
    assert all(delay.min > 0 for delay in delays)
    assert found["anomaly_delay_ms"].count == anomalies
    assert {found[name].count for name in ("parse_us", "redact_us", "patterns_us")} == {1}
    assert set(found) <= set(KINDS)


# --------------------------------------------------------------------------------- alert policies


def test_policies_read_counters_that_there_are() -> None:
    """Each counter that monitoring.tf names is in the list, and is read by a policy."""
    listed = re.search(r"for name in \[(.*?)\]", MONITORING)
    assert listed is not None
    names = re.findall(r'"(\w+)"', listed[1])
    assert {KINDS[name] for name in names} == {"counter"}
    assert set(re.findall(r'local\.counter\["(\w+)"\]', MONITORING)) == set(names)


def test_every_policy_has_a_runbook_with_all_that_one_needs() -> None:
    """It names the policy, and says what it means, who is hurt, what to do first, and when it is over."""
    policies = re.findall(r"^    ([\w-]+) = \{\n(.*?)^    \}", MONITORING, re.MULTILINE | re.DOTALL)
    assert len(policies) >= 7
    for name, body in policies:
        runbook = re.search(r'runbook += "([\w-]+\.md)"', body)
        title = re.search(r'title += "(.+)"', body)
        assert runbook is not None, name
        assert title is not None, name
        text = (ROOT / "docs" / "runbooks" / runbook[1]).read_text(encoding="utf-8")
        assert title[1] in text, f"{runbook[1]} does not name the policy '{title[1]}'"
        for part in ("**What it means**", "**Who is hurt**", "**First**", "**Causes**", "**Over when**"):
            assert part in text, f"{runbook[1]} lacks {part}"


def query_of(policy: str) -> str:
    """The PromQL of a policy, with the counters of the job `aiops` and the thresholds' defaults."""
    body = re.search(rf'^    {policy} = \{{\n.*?query += "(.+?)"\n', MONITORING, re.MULTILINE | re.DOTALL)
    assert body is not None
    variables = (ROOT / "terraform" / "variables.tf").read_text(encoding="utf-8")
    defaults = dict(re.findall(r"(\w+) += optional\(number, (\d+)\)", variables))
    text = re.sub(
        r'\$\{local\.counter\["(\w+)"\]\}',
        r'dataflow_googleapis_com:job_user_counter{monitored_resource="dataflow_job",job_name="aiops",metric_name="\1"}',
        body[1],
    )
    return re.sub(r"\$\{var\.slo\.(\w+)\}", lambda match: defaults[match[1]], text)


CASES = {
    "dead-letters": ("dead_letters", "0x30 0+600x30", [(25, False), (55, True)]),
    "failed-rows": ("failed_rows", "0x30 7x30", [(25, False), (33, True), (55, False)]),
    "ledger": ("ledger_difference", "0x30 20x30", [(25, False), (33, True), (55, False)]),
    "gemini": ("gemini_calls", "0x30 0+700x30", [(25, False), (55, True)]),
    "heartbeat": ("heartbeats", "0+1x30 30x15 _x30", [(25, False), (32, False), (44, True), (70, True)]),
}


@pytest.mark.cloud
@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool (of Prometheus) is not installed")
@pytest.mark.parametrize("policy", CASES)
def test_a_policy_fires_when_it_should_and_ends(policy: str, tmp_path: Path) -> None:
    """Prometheus' own engine over a total of the job, minute by minute; also of a job that never was."""
    name, values, moments = CASES[policy]
    rules = {"groups": [{"name": "g", "rules": [{"record": "fires", "expr": query_of(policy)}]}]}
    series = (
        'dataflow_googleapis_com:job_user_counter{monitored_resource="dataflow_job",job_name="%s",'
        f'metric_name="{name}",ptransform="a"}}'
    )
    asked = [(minute, f"count({query_of(policy)})", fires) for minute, fires in moments]
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": series % job, "values": values}],
            "promql_expr_test": [
                {
                    "expr": expression,
                    "eval_time": f"{minute}m",
                    "exp_samples": [{"labels": "{}", "value": 1}] if fires and job == "aiops" else [],
                }
                for minute, expression, fires in asked
            ],
        }
        for job in ("aiops", "another")
    ]
    (tmp_path / "rules.json").write_bytes(msgspec.json.encode(rules))
    (tmp_path / "test.json").write_bytes(
        msgspec.json.encode({"rule_files": [str(tmp_path / "rules.json")], "tests": tests})
    )
    done = subprocess.run(
        ["promtool", "test", "rules", str(tmp_path / "test.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
