"""What alerts are fed with beside findings: commands of people, and the events of the past."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import apache_beam as beam
import msgspec
from apache_beam.io.gcp.pubsub import PubsubMessage, ReadFromPubSub

from pipeline.alert_commands import parse_command, redact_command, refused_command
from pipeline.alert_files import AlertFileError, read_events
from pipeline.alert_log import PAST_DAYS, sort_events, stored_events
from pipeline.alert_messages import MessageError
from pipeline.bigquery_client import BigQueryError
from pipeline.bigquery_reader import BigQueryReader
from pipeline.duckdb_store import StoreError, acquire_store, release_store
from pipeline.table_reader import TableReader
from transforms.alert_elements import AlertCommand, AlertEvent
from transforms.elements import MICROSECONDS, DeadLetter
from transforms.metering import count_dead_letters
from transforms.redact.redactor import Redactor
from transforms.redact.settings import RedactSettings

DEAD_LETTERS: Final = "dead_letters"
PAST_SECONDS: Final = 60.0
"""BigQuery is asked for the past so long; until it answers no alert opens, and after it none is held up."""

_LOGGER = logging.getLogger(__name__)

CommandMessage = tuple[str, bytes, int]
"""(tenant of the subscription, body, publish time in microseconds)"""

TenantCommand = tuple[str, AlertCommand]
"""(tenant of the subscription, command): the command may claim another tenant, which is answered there."""


@dataclass(eq=False)
class ReadAlertCommands(beam.PTransform):
    """Pub/Sub subscriptions, each of one tenant → CommandMessage."""

    subscriptions: Sequence[tuple[str, str]]  # (tenant, projects/P/subscriptions/S)

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection:
        read = [
            root
            | f"Read {tenant}" >> ReadFromPubSub(subscription=subscription, with_attributes=True)
            | f"NameTenant {tenant}" >> beam.Map(_command_message, tenant).with_output_types(CommandMessage)
            for tenant, subscription in self.subscriptions
        ]
        return read | "AllTenants" >> beam.Flatten()


def _command_message(message: PubsubMessage, tenant_id: str) -> CommandMessage:
    published = message.publish_time
    seconds = published.timestamp() if published is not None else time.time()
    return tenant_id, message.data, int(seconds * MICROSECONDS)


@dataclass(eq=False)
class ParseAlertCommands(beam.PTransform):
    """CommandMessage → TenantCommand, redacted; the tag `dead_letters` has the DeadLetter of what is none."""

    redact: RedactSettings

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, messages: beam.PCollection) -> beam.pvalue.DoOutputsTuple:
        parse = beam.ParDo(_ParseCommands(self.redact))
        parse = parse.with_output_types(TenantCommand, **{DEAD_LETTERS: DeadLetter})
        return messages | "Parse" >> parse.with_outputs(DEAD_LETTERS, main="commands")


class _ParseCommands(beam.DoFn):
    def __init__(self, redact: RedactSettings) -> None:
        self._redact = redact

    def setup(self) -> None:
        self._redactor = Redactor(self._redact)

    def process(self, message: CommandMessage) -> Iterator[TenantCommand | beam.pvalue.TaggedOutput]:
        tenant_id, data, published_us = message
        try:
            command = parse_command(data, tenant_id)
        except MessageError as error:
            letter = refused_command(data, tenant_id, error, published_us, self._redactor)
            count_dead_letters([letter])
            yield beam.pvalue.TaggedOutput(DEAD_LETTERS, letter)
            return
        yield tenant_id, redact_command(command, tenant_id, self._redactor)


@dataclass(eq=False)
class ReadPastAlerts(beam.PTransform):
    """Events of files, and of the dataset or the local store where one is named → AlertEvent.

    They come in the order of their life: all are read by one call. Only names travel with the graph. What
    cannot be read is logged: without it alerts may be opened again, which is better than no alerts.
    """

    paths: Sequence[str]
    store: str = ""
    dataset: str = ""

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection:
        read = beam.ParDo(_ReadPastAlerts(self.store, self.dataset)).with_output_types(AlertEvent)
        return root | "Files" >> beam.Create([list(self.paths)]) | "Read" >> read


class _ReadPastAlerts(beam.DoFn):
    def __init__(self, store: str, dataset: str) -> None:
        self._store = store
        self._dataset = dataset

    def process(self, paths: list[str]) -> Iterator[AlertEvent]:
        found = {(event.alert_id, event.sequence): event for event in self._of_tables()}
        for path in paths:
            try:
                found |= {(event.alert_id, event.sequence): event for event in read_events(path)}
            except AlertFileError as error:
                # It was sound when the job started. Without it alerts may be opened again, which is
                # better than no alerts.
                _LOGGER.error("A file of --alert_events has changed since the job started: %s", error)  # noqa: TRY400
        yield from sort_events(found.values())

    def _of_tables(self) -> list[AlertEvent]:
        if not self._store and not self._dataset:
            return []
        try:
            # There is one element in the whole life of a job: the client is made here, and not in setup,
            # where one that cannot be made would stop the alerts of the job.
            with self._open() as reader:
                return stored_events(reader, past_days=PAST_DAYS)
        except (StoreError, BigQueryError, msgspec.ValidationError) as error:
            _LOGGER.warning("Past alerts cannot be read, so alerts may be opened again: %s", error)
            return []

    @contextmanager
    def _open(self) -> Iterator[TableReader]:
        if self._dataset:
            with BigQueryReader(self._dataset, deadline_seconds=PAST_SECONDS) as reader:
                yield reader
            return
        store = acquire_store(self._store)
        try:
            yield store
        finally:
            release_store(self._store)
