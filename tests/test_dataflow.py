"""The job as Dataflow's runner hands it in: built, translated and described, but not sent."""

from __future__ import annotations

from collections import Counter
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import StandardOptions

from pipeline.diagram import every_stream
from pipeline.main import build_job, choose_runner
from pipeline.options import parse_options

GRAPH_BYTES = 10_000_000
"""https://cloud.google.com/dataflow/quotas: the JSON of a job is at most 20 MB; half of it is left."""

PLACE = [
    *("--runner", "DataflowRunner", "--dry_run=true", "--no_auth", "--job_name", "aiops"),
    *("--project", "acme-prod", "--region", "europe-west1", "--sdk_container_image", "image"),
    *("--temp_location", "gs://acme-bucket/temp", "--staging_location", "gs://acme-bucket/staging"),
    *("--dataset", "acme-prod.aiops", "--failed_rows", "gs://acme-bucket/failed-rows"),
]


@pytest.fixture(scope="module")
def job() -> Any:
    """What would be sent, with everything switched on."""
    settings, options = parse_options([*every_stream(), *PLACE])
    pipeline = beam.Pipeline(runner=choose_runner(settings), options=options)
    build_job(pipeline, settings)
    return pipeline.run().job


def test_dataflows_runner_takes_the_whole_job_as_a_stream(job: Any) -> None:
    """Its checks of state, timers, side inputs and coders pass, and the graph is well below the limit."""
    assert job.options.view_as(StandardOptions).streaming
    assert len(job.proto_pipeline.SerializeToString()) < GRAPH_BYTES


def test_pubsub_is_read_and_written_by_dataflow_itself(job: Any) -> None:
    """Three subscriptions in and a topic for each kind of message out are the service's own steps."""
    kinds = Counter(step.spec.urn for step in job.proto_pipeline.components.transforms.values())
    assert kinds["beam:transform:pubsub_read:v1"] == 3
    published = [
        step for step in job.proto_pipeline.components.transforms.values() if "pubsub_write" in step.spec.urn
    ]
    assert {step.unique_name.partition("/")[0] for step in published} == {
        *("PublishAnomalies", "PublishMetricAnomalies", "PublishGeminiAnomalies"),
        *("PublishAlertEvents", "PublishDeadLetters", "PublishHeartbeats"),
    }
