"""What the analysis takes: windows and anomalies as notices; and the narrative that needs no model."""

from __future__ import annotations

from dataclasses import dataclass

import apache_beam as beam

from pipeline.evidence import window_evidence
from transforms.analyze.narrative import add_template
from transforms.analyze.select import Notice, notice_of_anomaly, notice_of_window
from transforms.coders import register_struct
from transforms.detect.history import WindowHistory
from transforms.elements import Anomaly
from transforms.incident_elements import Incident

KeyedNotice = tuple[tuple[str, str], Notice]
"""((tenant_id, service), notice)"""


@dataclass(eq=False)
class MakeNotices(beam.PTransform):
    """Collections of ((tenant, service), WindowHistory) and of Anomaly → KeyedNotice, timed as they are."""

    def expand(self, inputs: tuple[beam.PCollection, beam.PCollection]) -> beam.PCollection:
        histories, anomalies = inputs
        register_struct(Notice)
        windows = histories | "Windows" >> beam.MapTuple(notice_window).with_output_types(KeyedNotice)
        findings = anomalies | "Findings" >> beam.Map(notice_anomaly).with_output_types(KeyedNotice)
        return (windows, findings) | "Notices" >> beam.Flatten()


def notice_window(key: tuple[str, str], history: WindowHistory) -> KeyedNotice:
    return key, notice_of_window(window_evidence(history.summary, history.bands))


def notice_anomaly(anomaly: Anomaly) -> KeyedNotice:
    return (anomaly.tenant_id, anomaly.service), notice_of_anomaly(anomaly)


@dataclass(eq=False)
class AddNarratives(beam.PTransform):
    """Incident → Incident with the narrative of the template, where one is due."""

    def expand(self, incidents: beam.PCollection) -> beam.PCollection:
        return incidents | "AddTemplate" >> beam.Map(add_template).with_output_types(Incident)
