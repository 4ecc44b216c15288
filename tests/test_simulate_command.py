"""`aiops simulate` on the command line: files, pipes, Pub/Sub, errors and interrupts."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import orjson
import pytest
import typer
import zstandard
from typer.testing import CliRunner

from aiops.simulate import output
from aiops.simulate.command import simulate as command
from aiops.simulate.config import SimulationConfig
from aiops.simulate.faults import read_truth
from aiops.simulate.generator import deliveries, simulate, truth

SHORT = ["--duration", "20s", "--faults", "none"]
EXPECTED = b"".join(line + b"\n" for line in simulate(SimulationConfig(duration_seconds=20, faults="none")))
PROGRAM = "import typer; from aiops.simulate.command import simulate; typer.run(simulate)"


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.command()(command)
    return app


def test_standard_output_gets_one_entry_a_line(app):
    """`--out -` writes the entries, and nothing else, to standard output."""
    result = CliRunner().invoke(app, [*SHORT, "--out", "-"])
    assert result.exit_code == 0
    assert result.stdout_bytes == EXPECTED
    assert "entries" in result.stderr


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("logs.ndjson", lambda data: data),
        ("logs.ndjson.gz", gzip.decompress),
        ("logs.ndjson.zst", lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data)),
    ],
)
def test_files_are_compressed_by_their_name(app, tmp_path, name, read):
    """The same entries come out of a plain, a .gz and a .zst file, and two runs write the same file."""
    for path in (tmp_path / name, tmp_path / f"again-{name}"):
        assert CliRunner().invoke(app, [*SHORT, "--out", str(path)]).exit_code == 0
    assert read((tmp_path / name).read_bytes()) == EXPECTED
    assert (tmp_path / name).read_bytes() == (tmp_path / f"again-{name}").read_bytes()


def test_the_truth_is_written_beside(app, tmp_path):
    """`--truth` holds the faults of the run."""
    path = tmp_path / "truth.ndjson"
    options = [
        "--duration",
        "60s",
        "--faults",
        "errors@payment+10s/20s",
        "--out",
        os.devnull,
        "--truth",
        str(path),
    ]
    assert CliRunner().invoke(app, options).exit_code == 0
    config = SimulationConfig(duration_seconds=60, faults="errors@payment+10s/20s")
    assert list(read_truth(path.read_bytes().splitlines())) == truth(config)


def test_nights_and_tenants_are_chosen_by_options(app):
    """`--quiet-nights` and `--first-tenant` reach the simulation."""
    options = ["--duration", "60s", "--tenants", "1", "--first-tenant", "2", "--quiet-nights"]
    night = "2026-01-13T00:00:00Z"
    result = CliRunner().invoke(app, [*options, "--start", night])
    config = SimulationConfig(duration_seconds=60, tenants=1, first_tenant=2, quiet_nights=True, start=night)
    assert result.stdout_bytes.splitlines() == list(simulate(config))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--faults", "fire@payment+1m/1m"], "no fault type"),
        (["--duration", "long"], "is not a duration"),
        (["--tenants", "0"], "tenants is 0"),
        (["--first-tenant", "0"], "first_tenant is 0"),
        (["--copies", "7"], "copies is 7"),
        (["--to-topic", "logs"], "projects/PROJECT/topics/TOPIC"),
        (["--rate-per-second", "-1"], "negative"),
        (["--start", "noon"], "RFC 3339"),
    ],
)
def test_wrong_options_are_explained(app, options, says):
    """A wrong option ends with status 2 and says what to give."""
    result = CliRunner().invoke(app, options)
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.replace("│", " ").split())


def test_a_file_that_cannot_be_written_is_explained(app, tmp_path):
    """A missing folder ends with status 1 and names the option to change."""
    result = CliRunner().invoke(app, [*SHORT, "--out", str(tmp_path / "nowhere" / "logs")])
    assert result.exit_code == 1
    assert "Choose another --out" in result.stderr


def test_a_reader_that_leaves_early_ends_the_run_quietly():
    """`aiops simulate | head -1` ends with status 0 and no traceback."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "--duration", "1h"], stdout=-1, stderr=-1
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert orjson.loads(process.stdout.readline())["logName"]
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(30) == 0
    assert b"Traceback" not in said


def test_an_interrupt_leaves_whole_lines(tmp_path):
    """Ctrl-C ends with status 130; the file holds whole lines."""
    path = tmp_path / "logs.ndjson"
    options = ["--duration", "3d", "--rate-per-second", "20000", "--out", str(path)]
    with subprocess.Popen([sys.executable, "-c", PROGRAM, *options], stderr=-1) as process:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and not (path.exists() and path.stat().st_size > 100_000):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in said
    assert path.read_bytes().endswith(b"}\n")


def test_pacing_keeps_to_the_rate():
    """At 200 a second, 60 entries take 0.3 seconds."""
    config = SimulationConfig(duration_seconds=20, faults="none")
    started = time.monotonic()
    paced = output.pace(deliveries(config), 200)
    for _ in range(61):
        next(paced)
    assert 0.27 < time.monotonic() - started < 1.5


class FakeTopic:
    """Stands for google.cloud.pubsub_v1.PublisherClient."""

    def __init__(self, *_settings: object) -> None:
        FakeTopic.published = []
        FakeTopic.stopped = False

    def publish(self, topic: str, data: bytes, **attributes: str) -> SimpleNamespace:
        FakeTopic.published.append((topic, data, attributes))
        return SimpleNamespace(result=lambda _timeout: "id")

    def stop(self) -> None:
        FakeTopic.stopped = True

    published: list[tuple[str, bytes, dict[str, str]]]
    stopped: bool


def test_messages_carry_the_event_time_as_sinks_do(app, monkeypatch):
    """Each message is one entry, with its timestamp in the attribute that the job's watermark reads."""
    monkeypatch.setattr("google.cloud.pubsub_v1.PublisherClient", FakeTopic)
    result = CliRunner().invoke(app, [*SHORT, "--to-topic", "projects/p/topics/logs"])
    assert result.exit_code == 0, result.stderr
    assert b"".join(data + b"\n" for _, data, _ in FakeTopic.published) == EXPECTED
    assert {topic for topic, _, _ in FakeTopic.published} == {"projects/p/topics/logs"}
    for _, data, attributes in FakeTopic.published[:200]:
        assert attributes == {output.TIMESTAMP_ATTRIBUTE: orjson.loads(data)["timestamp"]}
    assert FakeTopic.stopped


@pytest.mark.pubsub
def test_the_emulator_receives_every_entry(pubsub_emulator, monkeypatch):
    """Against the real client and the emulator no message is lost."""
    from google.cloud import pubsub_v1

    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_emulator)
    topic, name = "projects/p/topics/simulate-test", "projects/p/subscriptions/simulate-test"
    publisher, subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
    publisher.create_topic(name=topic)
    subscriber.create_subscription(name=name, topic=topic)
    try:
        config = SimulationConfig(duration_seconds=5, faults="none")
        count = output.publish(deliveries(config), topic, lambda _count, _at: None)
        received: set[bytes] = set()
        deadline = time.monotonic() + 30
        while len(received) < count and time.monotonic() < deadline:
            for message in subscriber.pull(
                subscription=name, max_messages=1000, timeout=10
            ).received_messages:
                received.add(message.message.data)
        assert received == set(simulate(config))
    finally:
        subscriber.delete_subscription(subscription=name)
        publisher.delete_topic(topic=topic)
