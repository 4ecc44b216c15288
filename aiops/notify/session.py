"""One run of `aiops notify`, from its options to its exit code."""

from __future__ import annotations

import shlex
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final, NamedTuple, NoReturn

import typer
from rich.console import Console

from aiops.notify.channel_models import Channel
from aiops.notify.command_log import CommandLog, StoreCommandLog, TopicCommandLog
from aiops.notify.delivery import Delivery
from aiops.notify.explain import missing_secrets
from aiops.notify.feeds import FeedError, StoreFeed, SubscriptionFeed
from aiops.notify.notices import Notice, SendError
from aiops.notify.notifier import Notifier
from aiops.notify.outbox import Outbox
from aiops.notify.policy_reading import NotifyPolicy, PolicyError, load_policy
from aiops.notify.running import Workers, command_writer, run_once, run_until_stopped
from aiops.notify.samples import sample_events
from aiops.notify.secrets import SecretError
from aiops.notify.senders import DrySender, make_sender
from aiops.notify.state_file import StateError
from aiops.text import one_line, visible_text
from pipeline.alert_sinks import tenant_topic
from pipeline.operator_files import FileUnreadableError, read_operator_file
from transforms.clock import wall_clock_us
from transforms.detect.rule_model import MAX_FILE_BYTES

EXIT_STOPPED: Final[dict[int, int]] = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Request(NamedTuple):
    """The options of one run."""

    policy: str
    subscription: str
    store: str
    state: str
    commands: str
    once: bool
    dry_run: bool


class UsageError(Exception):
    """The options do not go together."""


class _Stopped(BaseException):
    """A signal asked to end."""

    def __init__(self, number: int) -> None:
        self.number = number


def read_policy(path: str) -> NotifyPolicy:
    """The policy in a local file or gs:// object. Raises FileUnreadableError or PolicyError."""
    text = read_operator_file(path, "policy file", "FILE", "nothing: a policy is needed", MAX_FILE_BYTES)
    return load_policy(text, path)


def open_state(path: Path) -> Outbox:
    """The memory of a notifier that has run; prints what is wrong and ends the command."""
    if not path.is_file():
        typer.echo(f"There is no state at {path}; name that of your `aiops notify` with --state.", err=True)
        raise typer.Exit(1)
    try:
        return Outbox(str(path))
    except StateError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


def run_session(request: Request, out: Console, err: Console) -> int:
    """Run until a signal, or once; returns the exit code, 2 where something cannot be used."""
    try:
        _check(request)
        policy = read_policy(request.policy)
        if not request.dry_run and (missing := missing_secrets(policy.channels.values())):
            raise UsageError("\n".join(missing))
        with _signals_raised():
            return _run(request, policy, out, _teller(err))
    except _Stopped as stop:
        err.print("Stopped. What was not sent is kept, and sent by the next run.", highlight=False)
        return EXIT_STOPPED[stop.number]
    except (UsageError, PolicyError, FileUnreadableError, FeedError, StateError) as error:
        err.print(visible_text(str(error)), markup=False, highlight=False, soft_wrap=True)
        return 2


def _check(request: Request) -> None:
    if not request.policy:
        raise UsageError("--policy FILE is missing: it says whom to tell; docs/notify.md has an example")
    if bool(request.subscription) == bool(request.store):
        raise UsageError("give --subscription or --store, one of them: they say where alerts come from")
    if request.commands and request.store:
        raise UsageError("--commands goes with --subscription; with --store, the store itself keeps the log")
    for option, name, kind in (
        ("--subscription", request.subscription, "subscriptions"),
        ("--commands", request.commands, "topics"),
    ):
        parts = name.split("/")
        if name and (len(parts) != 4 or not all(parts) or (parts[0], parts[2]) != ("projects", kind)):
            raise UsageError(f"{option} must look like projects/P/{kind}/{kind[0].upper()}, with full names")


def _run(request: Request, policy: NotifyPolicy, out: Console, say: Callable[[str], None]) -> int:
    outbox = _open_outbox(request)
    deliveries = [_delivery(channel, outbox, request, out, say) for channel in policy.channels.values()]
    feed = (
        StoreFeed(request.store, say)
        if request.store
        else SubscriptionFeed(request.subscription, outbox, say, keeps_messages=request.dry_run)
    )
    notifier = Notifier(policy.rules, outbox, wall_clock_us(), _answering(request))
    log = command_writer(outbox, None if request.dry_run else _command_log(request, say), say)
    try:
        if request.once or request.dry_run:
            is_done = run_once(notifier, feed, deliveries, log)
            return 0 if is_done and not feed.is_busy else 1
        source = request.subscription or request.store
        say(f"Telling {len(deliveries)} channels of alerts from {source}. Ctrl-C stops.")
        workers = Workers(deliveries)
        try:
            run_until_stopped(notifier, feed, workers, log)
        finally:
            if not workers.stop():
                say("A channel did not end what it was sending in time; it may be told twice.")
        return 0
    finally:
        feed.close()
        outbox.close()


def _answering(request: Request) -> Callable[[str], str]:
    """What `aiops alerts` has to be given to reach the alerts of a tenant; "" where nobody knows."""

    def answer(tenant_id: str) -> str:
        if request.store:
            return f"--store {shlex.quote(request.store)}"
        topic = tenant_topic(request.commands, tenant_id) if request.commands else ""
        return f"--topic {shlex.quote(topic)}" if topic else ""

    return answer


def _open_outbox(request: Request) -> Outbox:
    if not request.dry_run:
        outbox = Outbox(request.state)
        outbox.claim()
        return outbox
    outbox = Outbox(":memory:")
    if Path(request.state).is_file():
        kept = Outbox(request.state)
        kept.copy_into(outbox)
        kept.close()
    return outbox


def _delivery(
    channel: Channel, outbox: Outbox, request: Request, out: Console, say: Callable[[str], None]
) -> Delivery:
    if not request.dry_run:
        return Delivery(channel, make_sender(channel), outbox, say)

    def show(text: str) -> None:
        out.rule(f"would be sent to {channel.name}", align="left", characters="-")
        out.print(text, markup=False, highlight=False, soft_wrap=True)

    return Delivery(channel, DrySender(channel, show), outbox, lambda _: None)


def _command_log(request: Request, say: Callable[[str], None]) -> CommandLog | None:
    if request.store:
        return StoreCommandLog(request.store)
    if request.commands:
        return TopicCommandLog(request.commands)
    say("Without --commands, what is repeated and escalated is told but not in the log of alerts.")
    return None


def _teller(err: Console) -> Callable[[str], None]:
    lock = threading.Lock()

    def say(text: str) -> None:
        with lock:
            err.print(one_line(text, 2_000), markup=False, highlight=False, soft_wrap=True)

    return say


@contextmanager
def _signals_raised() -> Iterator[None]:
    def raise_stop(number: int, _: FrameType | None) -> NoReturn:
        # A second one, while ending, ends at once.
        signal.signal(number, signal.SIG_DFL)
        raise _Stopped(number)

    before = {number: signal.signal(number, raise_stop) for number in EXIT_STOPPED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def try_one(path: str, name: str, out: Console, err: Console) -> int:
    """Send a made-up alert and its end to one channel, with no retries; returns the exit code."""
    try:
        policy = read_policy(path)
        channel = policy.channels.get(name)
        if channel is None:
            raise UsageError(
                f'there is no channel "{one_line(name, 80)}"; there are {", ".join(policy.channels)}'
            )
        sender = make_sender(channel)
        for notice in sample_notices(name, wall_clock_us()):
            sender.send([notice], wall_clock_us())
            out.print(f"{name} took: {notice.kind}", markup=False, highlight=False)
        sender.close()
    except (UsageError, PolicyError, FileUnreadableError, SendError, SecretError) as error:
        err.print(visible_text(str(error)), markup=False, highlight=False, soft_wrap=True)
        return 1
    return 0


def sample_notices(channel: str, now: int) -> list[Notice]:
    """What `aiops notify try` sends."""
    kinds = ("opened", "resolved")
    return [
        Notice(notice_id=event.event_id, channel=channel, kind=kind, event=event, told_at_us=now, route="try")  # type: ignore[arg-type]
        for kind, event in zip(kinds, sample_events(now), strict=True)
    ]
