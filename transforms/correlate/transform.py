"""CorrelateAnomalies: anomalies of all kinds and windows of all services in, incidents out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import apache_beam as beam

from transforms.correlate.clues import Clue, clue_of_anomaly, clue_of_summary
from transforms.correlate.correlate import Correlated, CorrelateTenant
from transforms.correlate.settings import CorrelateSettings
from transforms.elements import Anomaly, WindowSummary
from transforms.incident_elements import Dependency, Incident
from transforms.ordering import ProcessInOrder

INCIDENTS: Final = "incidents"
DEPENDENCIES: Final = "dependencies"


@dataclass(eq=False)
class CorrelateAnomalies(beam.PTransform):
    """Collections of ((tenant, service), WindowSummary), and of Anomaly → Incident and Dependency, tagged.

    It waits for the slowest of its inputs, metrics included: no page may stand behind it.
    """

    settings: CorrelateSettings = field(default_factory=CorrelateSettings)

    def expand(
        self, inputs: tuple[tuple[beam.PCollection, ...], tuple[beam.PCollection, ...]]
    ) -> beam.pvalue.DoOutputsTuple:
        summaries, anomalies = inputs
        clues = []
        for number, found in enumerate(summaries):
            keyed = beam.MapTuple(_key_facts).with_output_types(tuple[str, Clue])
            clues.append(found | f"Facts{number}" >> keyed)
        for number, found in enumerate(anomalies):
            keyed = beam.Map(_key_anomaly).with_output_types(tuple[str, Clue])
            clues.append(found | f"Anomalies{number}" >> keyed)
        part = beam.ParDo(_PartCorrelated())
        return (
            clues
            | "Together" >> beam.Flatten()
            | "CorrelateTenant" >> ProcessInOrder(CorrelateTenant(self.settings), Clue)
            | "PartCorrelated" >> part.with_outputs(DEPENDENCIES, main=INCIDENTS)
        )


def _key_facts(key: tuple[str, str], summary: WindowSummary) -> tuple[str, Clue]:
    return key[0], clue_of_summary(summary)


def _key_anomaly(anomaly: Anomaly) -> tuple[str, Clue]:
    return anomaly.tenant_id, clue_of_anomaly(anomaly)


class _PartCorrelated(beam.DoFn):
    def process(self, element: tuple[str, Correlated]) -> Iterator[Incident | beam.pvalue.TaggedOutput]:
        correlated = element[1]
        if correlated.incident is not None:
            yield correlated.incident
        if correlated.dependency is not None:
            dependency: Dependency = correlated.dependency
            yield beam.pvalue.TaggedOutput(DEPENDENCIES, dependency)
