"""Against Alertmanager itself: what it shows, and what it tells its own receivers."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from alert_events import START_US, alert_event
from conftest import free_port, unavailable, wait_for_port
from loopback_servers import HttpServer, http_server

from aiops.notify.channel_models import AlertmanagerChannel, traits_of
from aiops.notify.delivery import Delivery
from aiops.notify.notifier import Notifier
from aiops.notify.outbox import Outbox
from aiops.notify.senders import make_sender
from transforms.alert.notify_policy import Policy, Route, Step
from transforms.elements import MINUTE_US

pytestmark = pytest.mark.alertmanager
T = TypeVar("T")
CONFIG = """
route: {{receiver: hook, group_by: [alert_id, severity], group_wait: 0s, group_interval: 1s}}
receivers: [{{name: hook, webhook_configs: [{{url: "{url}", send_resolved: true}}]}}]
"""


@pytest.fixture
def hook() -> Iterator[HttpServer]:
    with http_server() as running:
        yield running


@pytest.fixture
def alertmanager(tmp_path: Path, hook: HttpServer) -> Iterator[str]:
    """Address of an Alertmanager of this test's own, whose receiver is `hook`."""
    program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if program is None:
        unavailable("Alertmanager is needed: apt-get install prometheus-alertmanager")
    address = f"127.0.0.1:{free_port()}"
    config = tmp_path / "alertmanager.yml"
    config.write_text(CONFIG.format(url=hook.url))
    command = [str(program), f"--config.file={config}", f"--web.listen-address={address}"]
    command += ["--cluster.listen-address=", f"--storage.path={tmp_path / 'data'}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
    try:
        assert wait_for_port(address, process)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(timeout=10)


def shown(address: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{address}/api/v2/alerts", timeout=10) as response:
        found: list[dict[str, Any]] = json.load(response)
        return found


def wait_until(look: Callable[[], T], holds: Callable[[T], bool], what: str) -> T:
    deadline = time.monotonic() + 30
    while not holds(found := look()):
        assert time.monotonic() < deadline, f"{what}: {found}"
        time.sleep(0.1)
    return found


def test_alertmanager_follows_the_life_of_an_alert(alertmanager: str, hook: HttpServer) -> None:
    """It shows the alert with its labels, as the new one where the severity rose, and tells its end."""
    channel = AlertmanagerChannel(name="manager", url=alertmanager)
    rules = Policy((Route("all", (Step(0, ("manager",)),)),), {"manager": traits_of(channel)})
    outbox = Outbox(":memory:")
    said: list[str] = []
    now = time.time_ns() // 1_000
    notifier = Notifier(rules, outbox, now)
    deliverer = Delivery(channel, make_sender(channel), outbox, said.append)
    nasty = {
        "summary": '<b>"x"</b>\u202e\n{{ 1 }}',
        "opened_at": now - 5 * MINUTE_US,
        "runbook": "https://r.example/a?b&c",
    }

    notifier.take([alert_event(0, "opened", **nasty), alert_event(0, "opened", alert_id="a2", **nasty)], now)
    deliverer.send_due(now)
    alerts = wait_until(lambda: shown(alertmanager), lambda found: len(found) == 2, "two alerts")
    assert {alert["labels"]["alert_id"] for alert in alerts} == {"a1", "a2"}
    first = next(alert for alert in alerts if alert["labels"]["alert_id"] == "a1")
    assert first["labels"] == {
        "alertname": "aiops", "alert_id": "a1", "tenant": "acme", "service": "cart",
        "group": "service=cart", "severity": "high",
    }  # fmt: skip
    assert first["annotations"]["summary"] == '<b>"x"</b>⟨U+202E⟩⏎{{ 1 }}'
    assert first["annotations"]["runbook_url"] == "https://r.example/a?b&c"
    assert first["status"]["state"] == "active"
    ends = first["endsAt"]

    notifier.take([alert_event(1, "escalated", severity="critical", **nasty)], now)
    deliverer.send_due(now)
    alerts = wait_until(
        lambda: [a for a in shown(alertmanager) if a["labels"]["alert_id"] == "a1"],
        lambda found: [a["labels"]["severity"] for a in found] == ["critical"],
        "only the critical one",
    )

    later = now + 16 * MINUTE_US
    notifier.tick(later)
    deliverer.send_due(later)
    wait_until(
        lambda: [a for a in shown(alertmanager) if a["labels"]["alert_id"] == "a1"],
        lambda found: found[0]["endsAt"] > ends,
        "a later end",
    )

    notifier.take([alert_event(2, "resolved", severity="critical", **nasty)], now)
    deliverer.send_due(now)
    wait_until(
        lambda: {a["labels"]["alert_id"] for a in shown(alertmanager)},
        lambda found: found == {"a2"},
        "the end",
    )
    wait_until(
        lambda: [
            (alert["labels"]["severity"], alert["status"])
            for received in hook.received
            for alert in json.loads(received.body)["alerts"]
            if alert["labels"]["alert_id"] == "a1"
        ],
        lambda found: (
            {("high", "firing"), ("high", "resolved"), ("critical", "firing"), ("critical", "resolved")}
            <= set(found)
        ),
        "what its receiver was told",
    )
    assert outbox.failed() == []
    deliverer.close()


def test_what_alertmanager_refuses_is_a_dead_letter(alertmanager: str) -> None:
    """Its own words say why; nothing is tried for ever."""
    channel = AlertmanagerChannel(name="manager", url=f"{alertmanager}/wrong")
    rules = Policy((Route("all", (Step(0, ("manager",)),)),), {"manager": traits_of(channel)})
    outbox = Outbox(":memory:")
    Notifier(rules, outbox, START_US).take([alert_event(0, "opened")], START_US)
    deliverer = Delivery(channel, make_sender(channel), outbox, lambda _: None)
    deliverer.send_due(START_US)
    deliverer.close()
    (letter,) = outbox.failed()
    assert letter.reason.startswith("the server answered 404")
