"""What several test files share."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import apache_beam as beam
import hypothesis
import pytest
from apache_beam.transforms import userstate

EMULATOR_START_SECONDS = 60

# A deadline is wall clock: on a busy machine it fails tests that are right.
hypothesis.settings.register_profile("aiops", deadline=None)
hypothesis.settings.load_profile("aiops")


def unavailable(reason: str) -> None:
    """Skip where a tool is missing on a laptop; fail in CI, which must have it."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason}; CI must have it")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def pubsub_emulator() -> Iterator[str]:
    """host:port of a Pub/Sub emulator that only this test run uses."""
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        unavailable("the Pub/Sub emulator needs the Google Cloud CLI with its component pubsub-emulator")
    address = f"127.0.0.1:{free_port()}"
    command = [str(gcloud), "beta", "emulators", "pubsub", "start", f"--host-port={address}", "--quiet"]
    emulator = subprocess.Popen(
        [*command, "--project=aiops-test"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        if not wait_for_port(address, emulator):
            unavailable("the Pub/Sub emulator did not start: gcloud components install pubsub-emulator beta")
        yield address
    finally:
        os.killpg(emulator.pid, signal.SIGTERM)
        emulator.wait(timeout=10)


@pytest.fixture
def remembered_specs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The local streaming runner asks for the state of a step with each bundle: two thirds of its time."""
    find_specs, known = userstate.get_dofn_specs, {}

    def remember(dofn: beam.DoFn) -> Any:
        if type(dofn) not in known:
            known[type(dofn)] = find_specs(dofn)
        return known[type(dofn)]

    monkeypatch.setattr(userstate, "get_dofn_specs", remember)


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(address: str, process: subprocess.Popen[str]) -> bool:
    host, port = address.split(":")
    deadline = time.monotonic() + EMULATOR_START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with closing(socket.socket()) as probe:
            if probe.connect_ex((host, int(port))) == 0:
                return True
        time.sleep(0.2)
    return False
