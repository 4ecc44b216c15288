"""The master key is read where it is used, from a file or from Secret Manager, and never travels."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apache_beam as beam
import grpc
import pytest
from apache_beam.internal import cloudpickle_pickler
from apache_beam.internal.cloudpickle import cloudpickle
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that
from google.cloud import secretmanager
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
    SecretManagerServiceGrpcTransport,
)

from pipeline import redaction_key
from pipeline.main import build_job
from pipeline.options import parse_options
from pipeline.redaction_key import FileKey, NoAccessError, SecretKey
from pipeline.settings import OptionsError, Settings
from pipeline.stage_settings import redact_settings
from transforms.elements import LogBatch, LogEntry
from transforms.redact.redactor import Redactor
from transforms.redact.transform import RedactLogBatches

KEY = b"5e2c9d1f0a7b4c3d8e6f5a4b3c2d1e0f"
SECRET = "projects/acme-prod/secrets/aiops-redaction-key"
PROJECT = "projects/acme-prod"
STREAMS = [
    f"--input_subscription={PROJECT}/subscriptions/logs",
    f"--metrics_subscription={PROJECT}/subscriptions/metrics",
    f"--commands=acme={PROJECT}/subscriptions/commands",
]


class SecretManager:
    """Secret Manager's AccessSecretVersion on this machine: versions, or the error that they end in."""

    def __init__(self) -> None:
        self.versions: dict[str, bytes | grpc.StatusCode] = {}
        self.asked: list[str] = []
        self._server = grpc.server(ThreadPoolExecutor(2))
        method = grpc.unary_unary_rpc_method_handler(
            self._access,
            request_deserializer=secretmanager.AccessSecretVersionRequest.deserialize,
            response_serializer=secretmanager.AccessSecretVersionResponse.serialize,
        )
        service = "google.cloud.secretmanager.v1.SecretManagerService"
        handler = grpc.method_handlers_generic_handler(service, {"AccessSecretVersion": method})
        self._server.add_generic_rpc_handlers((handler,))
        self._port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def _access(
        self, request: secretmanager.AccessSecretVersionRequest, context: grpc.ServicerContext
    ) -> secretmanager.AccessSecretVersionResponse:
        self.asked.append(request.name)
        found = self.versions.get(request.name, grpc.StatusCode.NOT_FOUND)
        if isinstance(found, grpc.StatusCode):
            context.abort(found, f"no {request.name}")
        return secretmanager.AccessSecretVersionResponse(name=request.name, payload={"data": found})

    def client(self) -> secretmanager.SecretManagerServiceClient:
        channel = grpc.insecure_channel(f"127.0.0.1:{self._port}")
        return secretmanager.SecretManagerServiceClient(
            transport=SecretManagerServiceGrpcTransport(channel=channel)
        )

    def stop(self) -> None:
        self._server.stop(None)


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[SecretManager]:
    server = SecretManager()
    monkeypatch.setattr(redaction_key, "make_client", server.client)
    redaction_key._read_secret.cache_clear()
    try:
        yield server
    finally:
        redaction_key._read_secret.cache_clear()
        server.stop()


def settings_of(*arguments: str) -> Settings:
    return parse_options(["--input", "-", *arguments])[0]


def test_the_key_of_a_secret_is_read_once_per_process(manager: SecretManager) -> None:
    """Threads that begin together ask once; the line end that `openssl rand -hex` writes is no part of it."""
    manager.versions[f"{SECRET}/versions/7"] = KEY + b"\n"
    found: list[bytes] = []
    key = SecretKey(f"{SECRET}/versions/7")
    threads = [threading.Thread(target=lambda: found.append(key.read())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [KEY] * 8
    assert manager.asked == [f"{SECRET}/versions/7"]


def test_the_number_of_the_secrets_version_stands_in_placeholders(manager: SecretManager) -> None:
    """Unless another one is given; the key is the same as from a file."""
    manager.versions[f"{SECRET}/versions/7"] = KEY
    option = ("--redaction_key_secret", f"{SECRET}/versions/7")
    placeholder = Redactor(redact_settings(settings_of(*option))).text("acme", "ann@example.com")
    assert placeholder.startswith("<email:v7:")
    other = Redactor(redact_settings(settings_of(*option, "--redaction_key_version", "3")))
    assert other.text("acme", "ann@example.com") == placeholder.replace(":v7:", ":v3:")


def test_a_file_holds_the_same_key(tmp_path: Path) -> None:
    """White space around it is no part of it, and its version is 1 unless said."""
    path = tmp_path / "key"
    path.write_bytes(KEY + b"\n")
    assert FileKey(str(path)).read() == KEY
    made = redact_settings(settings_of("--redaction_key_file", str(path)))
    assert Redactor(made).text("acme", "ann@example.com").startswith("<email:v1:")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (grpc.StatusCode.NOT_FOUND, "no such version; make one with `openssl rand"),
        (grpc.StatusCode.PERMISSION_DENIED, "grant roles/secretmanager.secretAccessor on " + SECRET),
        (grpc.StatusCode.UNAUTHENTICATED, "grant roles/secretmanager.secretAccessor on " + SECRET),
        (grpc.StatusCode.FAILED_PRECONDITION, "disabled or destroyed; enable it"),
        (grpc.StatusCode.INTERNAL, "does not answer"),
        (b"too short\n", "has 9 bytes; use at least 16"),
    ],
)
def test_a_secret_that_cannot_be_used_is_told_at_launch(
    manager: SecretManager, answer: bytes | grpc.StatusCode, words: str
) -> None:
    """The error names the option, the cause and the mend, and shows nothing of what is in the secret."""
    manager.versions[f"{SECRET}/versions/2"] = answer
    with pytest.raises(OptionsError, match="--redaction_key_secret") as error:
        redact_settings(settings_of("--redaction_key_secret", f"{SECRET}/versions/2"))
    assert words in str(error.value)
    assert "too short" not in str(error.value)


def test_who_starts_a_job_on_dataflow_need_not_read_its_key(
    manager: SecretManager, caplog: pytest.LogCaptureFixture
) -> None:
    """The workers have an account of their own: a warning, not an error; a missing version is one."""
    manager.versions[f"{SECRET}/versions/2"] = grpc.StatusCode.PERMISSION_DENIED
    settings = settings_of("--redaction_key_secret", f"{SECRET}/versions/2")
    elsewhere = settings.model_copy(update={"runner": "DataflowRunner"})
    made = redact_settings(elsewhere)
    assert "secretAccessor" in caplog.text
    with pytest.raises(NoAccessError):
        Redactor(made)
    with pytest.raises(OptionsError, match="no such version"):
        redact_settings(elsewhere.model_copy(update={"redaction_key_secret": f"{SECRET}/versions/3"}))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--redaction_key_secret", f"{SECRET}/versions/latest"], "not latest: under a running job"),
        (["--redaction_key_secret", SECRET], "must look like projects/P/secrets/S/versions/V"),
        (
            ["--redaction_key_secret", f"{SECRET}/versions/0"],
            "must look like projects/P/secrets/S/versions/V",
        ),
        (["--redaction_key_secret", f"{SECRET}/versions/1", "--redaction_key_file", "f"], "one of them"),
    ],
)
def test_a_secret_is_named_with_a_pinned_version(arguments: list[str], words: str) -> None:
    """Placeholders must not change under a running job; file and secret exclude each other."""
    with pytest.raises(OptionsError) as error:
        settings_of(*arguments)
    assert words in str(error.value)


@pytest.mark.parametrize("place", ["file", "secret"])
def test_what_is_pickled_holds_the_place_of_the_key_and_not_the_key(
    place: str, manager: SecretManager, tmp_path: Path
) -> None:
    """No DoFn of the whole streaming job has it, in any spelling; three of them know where it is."""
    path = tmp_path / "redaction.key"
    path.write_bytes(KEY)
    manager.versions[f"{SECRET}/versions/7"] = KEY
    named = str(path) if place == "file" else f"{SECRET}/versions/7"
    settings, options = parse_options([*STREAMS, f"--redaction_key_{place}", named])
    pipeline = beam.Pipeline(options=options)
    build_job(pipeline, settings)
    pickled: list[bytes] = []

    class Walk(beam.pipeline.PipelineVisitor):
        def visit_transform(self, node: beam.pipeline.AppliedPTransform) -> None:
            if isinstance(node.transform, beam.ParDo):
                pickled.append(cloudpickle.dumps(node.transform.fn))

    pipeline.visit(Walk())
    assert len(pickled) > 30
    spellings = (KEY, base64.b64encode(KEY), KEY.hex().encode(), bytes.fromhex(KEY.decode()))
    assert not [data for data in pickled if any(spelling in data for spelling in spellings)]
    assert sum(named.encode() in data for data in pickled) == 3


def test_a_worker_reads_the_key_by_itself(manager: SecretManager) -> None:
    """A step that was pickled and sent redacts with the key of the secret."""
    manager.versions[f"{SECRET}/versions/7"] = KEY
    made = redact_settings(settings_of("--redaction_key_secret", f"{SECRET}/versions/7"))
    sent = cloudpickle_pickler.loads(cloudpickle_pickler.dumps(RedactLogBatches(made)))
    redaction_key._read_secret.cache_clear()  # a worker is another process

    def check(batches: list[LogBatch]) -> None:
        assert batches[0].entries[0].message == Redactor(made).text("acme", "by ann@example.com")

    with TestPipeline() as pipeline:
        entry = LogEntry("acme", "cart", 0, 0, "by ann@example.com")
        batches = pipeline | beam.Create([LogBatch([entry])]).with_output_types(LogBatch)
        assert_that((batches | sent).batches, check)
    assert manager.asked == [f"{SECRET}/versions/7"] * 2
