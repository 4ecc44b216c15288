"""Where the analysis stands in the graph: beside the way to alerts, never in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor

from pipeline.main import build_job
from pipeline.options import parse_options
from pipeline.prices_source import PricesError, read_price_file
from pipeline.settings import OptionsError


def job_of(tmp_path: Path, *more: str) -> dict[str, AppliedPTransform]:
    """Steps of a job by their full label."""
    logs = tmp_path / "logs.ndjson"
    logs.write_text("")
    settings, options = parse_options(
        ["--input", str(logs), "--store", str(tmp_path / "s.duckdb"), *more, "--gemini_project", "acme-prod"]
    )
    pipeline = beam.Pipeline(options=options)
    build_job(pipeline, settings)
    steps: dict[str, AppliedPTransform] = {}

    class Collect(PipelineVisitor):
        def visit_transform(self, step: AppliedPTransform) -> None:
            steps[step.full_label] = step

    pipeline.visit(Collect())
    return steps


def ancestors(step: AppliedPTransform) -> Iterator[str]:
    """Labels of all steps that a step waits for."""
    waiting, seen = [step], set()
    while waiting:
        for collection in (*(one := waiting.pop()).inputs, *(side.pvalue for side in one.side_inputs)):
            producer = collection.producer
            if producer is not None and producer.full_label not in seen:
                seen.add(producer.full_label)
                waiting.append(producer)
                yield producer.full_label


def is_of_gemini(label: str) -> bool:
    return "AnalyzeWithGemini" in label


def test_the_analysis_is_in_the_graph_only_where_it_is_wanted(tmp_path: Path) -> None:
    """Off by default; nothing of it is imported into the way of lines."""
    assert not [label for label in job_of(tmp_path) if is_of_gemini(label)]
    assert [label for label in job_of(tmp_path, "--enable_gemini_analysis") if is_of_gemini(label)]
    assert [label for label in job_of(tmp_path, "--enable-gemini-analysis=true") if is_of_gemini(label)]


def test_neither_anomalies_of_rules_nor_incidents_wait_for_gemini(tmp_path: Path) -> None:
    """Of all steps only its own rows and the alerts, which have no event time, stand behind it."""
    steps = job_of(tmp_path, "--enable_gemini_analysis")
    behind = {
        label.split("/")[0]
        for label, step in steps.items()
        if not is_of_gemini(label) and any(map(is_of_gemini, ancestors(step)))
    }
    assert behind == {
        "GeminiAnomalyRows", "HypothesisRows", "GeminiCallRows", "NarratedRows",
        "Write gemini_anomalies", "Write hypotheses", "Write gemini_calls", "Write narrated_incidents",
        "AllAnomalies", "ManageAlerts", "AlertEventRows", "Write alert_events",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--batch_size", "9", "--batch_size: must be greater than or equal to 10"),
        ("--batch_size", "1001", "--batch_size: must be less than or equal to 1000"),
        ("--batch_timeout_seconds", "59", "--batch_timeout_seconds: must be greater than or equal to 60"),
        ("--gemini_base_url", "ftp://x", "--gemini_base_url: must be an address that begins with https://"),
        ("--gemini_model", "a b", "--gemini_model: must be a model's id, e.g. gemini-3.8-flash"),
        ("--gemini_project", "X", "--gemini_project: must be a project's id"),
        ("--gemini_location", "EU!", "--gemini_location: must be a location of Vertex AI"),
        ("--enable_gemini_analysis", "maybe", "--enable_gemini_analysis: must be a valid boolean"),
    ],
)
def test_a_wrong_option_of_gemini_is_named_with_the_mend(option: str, value: str, said: str) -> None:
    """As all options are."""
    with pytest.raises(OptionsError, match=re.escape(said)):
        parse_options(["--input", "x", option, value])


def test_a_price_file_is_read_and_a_wrong_one_refused_by_name(tmp_path: Path) -> None:
    """With days as YAML writes them."""
    good, bad, broken = (tmp_path / name for name in ("good.yaml", "bad.yaml", "broken.yaml"))
    good.write_text("- {model: m, from: 2027-01-01, input: 0.5, output: 2}\n")
    bad.write_text("- {model: m, input: -1, output: 2}\n")
    broken.write_text("- {model: [\n")
    assert [(price.model, price.input_usd) for price in read_price_file(str(good))] == [("m", 0.5)]
    assert read_price_file("")
    for path in (bad, broken):
        with pytest.raises(PricesError, match=path.name):
            read_price_file(str(path))
