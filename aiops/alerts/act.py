"""The commands of `aiops alerts` that change something."""

from __future__ import annotations

import getpass
import re
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, get_args

import typer

from aiops.alerts.acting import (
    ID_CHARACTERS,
    ActionError,
    answer_of,
    apply_to_store,
    find_alert,
    read_views,
    report_errors,
)
from aiops.alerts.tables import SHORT_ID, event_row
from aiops.query import open_store, open_tables
from aiops.show_output import DEFAULT_STORE, AsJson, Dataset, Tenant, print_json
from aiops.text import one_line
from transforms.alert.view import AlertView
from transforms.alert_elements import AlertAction, AlertCommand, AlertEvent, Matcher, MatcherName
from transforms.clock import wall_clock_us
from transforms.elements import MICROSECONDS
from transforms.redact.redactor import Redactor
from transforms.redact.settings import DemoKey, RedactSettings

Id = Annotated[str, typer.Argument(help="Id of the alert, or a beginning of it that no other has.")]
Topic = Annotated[
    str,
    typer.Option("--topic", help="Send it to the job over this topic of commands: projects/P/topics/T."),
]
OfStore = Annotated[str | None, typer.Option("--store", help="DuckDB file that `aiops run` filled.")]
Note = Annotated[str, typer.Option("--note", help="What there is to say; redacted before it is stored.")]
Actor = Annotated[str, typer.Option("--actor", help="Who does it; you, if left out.")]
KeyFile = Annotated[
    str,
    typer.Option(
        "--redaction_key_file", "--redaction-key-file", help="Master key of placeholders, as the job has it."
    ),
]

_MATCHER: Final = re.compile(r"\s*([a-z]+)\s*(=~|!~|!=|=)\s*(.*?)\s*", re.DOTALL)
_SPAN: Final = re.compile(r"([0-9]{1,5})\s*([smhdw])")
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DONE: Final[dict[AlertAction, str]] = {
    "acknowledge": "acknowledged",
    "resolve": "resolved",
    "reopen": "reopened",
    "silence": "silenced",
    "expire_silence": "no longer silenced",
    "comment": "commented on",
    "false_positive": "called a false positive",
    "useful": "called useful",
}


@dataclass(frozen=True)
class _Way:
    """Who acts, and whether on a store or by a topic."""

    actor: str
    store: str | None
    dataset: str
    tenant: str | None
    topic: str
    key_file: str
    as_json: bool

    def __post_init__(self) -> None:
        if self.dataset and not self.topic:
            raise ActionError("only the job writes to a dataset: say with --topic where it takes commands")


def add_commands(app: typer.Typer) -> None:
    """Give `app` every command that acts."""
    _add(app, "ack", "acknowledge", "Say that you are looking at an alert; it is not repeated any more.")
    _add(app, "resolve", "resolve", "Say that it is over; --note says what it was.")
    _add(app, "reopen", "reopen", "Open an alert that is over again.")
    _add(
        app, "false-positive", "false_positive", "Say that it was no problem: it ends, and counts in quality."
    )
    _add(app, "useful", "useful", "Say that the alert was right and of use: it counts in quality.")
    app.command("comment")(comment)
    app.command("silence")(silence)
    app.command("unsilence")(unsilence)


def _add(app: typer.Typer, name: str, action: AlertAction, doc: str) -> None:
    def command(
        alert: Id,
        *,
        note: Note = "",
        actor: Actor = "",
        store: OfStore = None,
        dataset: Dataset = "",
        tenant: Tenant = None,
        topic: Topic = "",
        redaction_key_file: KeyFile = "",
        as_json: AsJson = False,
    ) -> None:
        with report_errors():
            way = _Way(actor, store, dataset, tenant, topic, redaction_key_file, as_json)
            _act_on(way, action, alert, note=note)

    command.__doc__ = doc
    app.command(name)(command)


def comment(
    alert: Id,
    note: Annotated[str, typer.Argument(help="What there is to say; redacted before it is stored.")],
    *,
    actor: Actor = "",
    store: OfStore = None,
    dataset: Dataset = "",
    tenant: Tenant = None,
    topic: Topic = "",
    redaction_key_file: KeyFile = "",
    as_json: AsJson = False,
) -> None:
    """Write something beside an alert, for those who look at it later."""
    with report_errors():
        way = _Way(actor, store, dataset, tenant, topic, redaction_key_file, as_json)
        _act_on(way, "comment", alert, note=note)


def silence(
    alert: Annotated[
        str, typer.Argument(help="Id of the alert, or a beginning of it; nothing with --matcher.")
    ] = "",
    *,
    matcher: Annotated[
        list[str] | None,
        typer.Option(
            "--matcher",
            help="What to silence instead, as in Alertmanager: service=cart, type!=silence, "
            "'service=~batch-.*'. All that are given must hold. Names: service, type, pattern, severity, "
            "detector, endpoint, tenant.",
        ),
    ] = None,
    span: Annotated[str, typer.Option("--for", help="How long: 30m, 2h, 7d.")] = "",
    until: Annotated[str, typer.Option("--until", help="Until when, instead: an RFC 3339 time.")] = "",
    note: Note = "",
    actor: Actor = "",
    store: OfStore = None,
    dataset: Dataset = "",
    tenant: Tenant = None,
    topic: Topic = "",
    redaction_key_file: KeyFile = "",
    as_json: AsJson = False,
) -> None:
    """Keep notifiers quiet about an alert, or about all that matches, for a time."""
    with report_errors():
        if bool(alert) == bool(matcher):
            raise ActionError("name one alert, or what to silence with --matcher")
        way = _Way(actor, store, dataset, tenant, topic, redaction_key_file, as_json)
        until_us = _end_of(span, until)
        if alert:
            _act_on(way, "silence", alert, note=note, until=until_us)
            return
        matchers = [_read_matcher(text) for text in matcher or ()]
        of_tenant = tenant or ("" if topic else _only_tenant(store or DEFAULT_STORE))
        _act(way, "silence", of_tenant, None, note=note, until=until_us, matchers=matchers)


def unsilence(
    alert: Annotated[str, typer.Argument(help="Id of the silence or of the alert, or a beginning of it.")],
    *,
    note: Note = "",
    actor: Actor = "",
    store: OfStore = None,
    dataset: Dataset = "",
    tenant: Tenant = None,
    topic: Topic = "",
    redaction_key_file: KeyFile = "",
    as_json: AsJson = False,
) -> None:
    """End a silence before its time."""
    with report_errors():
        way = _Way(actor, store, dataset, tenant, topic, redaction_key_file, as_json)
        _act_on(way, "expire_silence", alert, note=note)


# ------------------------------------------------------------------------------------ the way


def _act_on(way: _Way, action: AlertAction, prefix: str, *, note: str = "", until: int = 0) -> None:
    """Act on the alert whose id begins with `prefix`."""
    takes_silences = action == "expire_silence"
    if way.topic and way.store is None and not way.dataset:
        if len(prefix) != ID_CHARACTERS:
            raise ActionError(
                f"--topic needs the whole id, {ID_CHARACTERS} characters, or --store or --dataset to look it "
                "up in"
            )
        _act(way, action, way.tenant or "", prefix, note=note, until=until)
        return
    with open_tables(way.store or DEFAULT_STORE, way.dataset) as opened:
        views = read_views(opened, way.tenant).values()
    view = find_alert(views, prefix, silences=takes_silences)
    _act(way, action, view.tenant_id, view.alert_id, view, note=note, until=until)


def _act(
    way: _Way,
    action: AlertAction,
    tenant_id: str,
    alert_id: str | None,
    view: AlertView | None = None,
    *,
    note: str = "",
    until: int = 0,
    matchers: list[Matcher] | None = None,
) -> None:
    is_silence = view is not None and view.is_silence
    clock_us = wall_clock_us()
    command = AlertCommand(
        command_id=uuid.uuid4().hex,
        tenant_id=tenant_id,
        action=action,
        actor=way.actor or _user(),
        issued_at=clock_us,
        alert_id="" if is_silence else alert_id or "",
        note=note,
        matchers=matchers or [],
        until=until,
        silence_id=(alert_id or "") if is_silence else "",
    )
    if way.topic:
        from aiops.alerts.sending import send_command

        send_command(way.topic, command)
        typer.echo(f"sent to {one_line(way.topic)}; `aiops alerts show` tells what became of it")
        return
    events = apply_to_store(way.store or DEFAULT_STORE, command, _redactor(way.key_file), clock_us)
    _tell(events, command, as_json=way.as_json)


def _tell(events: list[AlertEvent], command: AlertCommand, *, as_json: bool) -> None:
    answer = answer_of(events, command.command_id)
    if as_json:
        print_json([event_row(event) for event in events])
    if answer is None or answer.event_type == "rejected":
        note = answer.note if answer is not None else "nothing was done"
        typer.echo(f"Error: {one_line(note)}", err=True)
        raise typer.Exit(1)
    if not as_json:
        what = "silence" if answer.matchers else "alert"
        where = one_line(f"{answer.tenant_id} {answer.service}".strip(), 120)
        done = _DONE[command.action]
        typer.echo(f"{what} {answer.alert_id[:SHORT_ID]} ({where}): {done} by {one_line(answer.actor, 60)}")


def _redactor(key_file: str) -> Redactor:
    if not key_file:
        return Redactor(RedactSettings(DemoKey()))
    from pipeline.settings import OptionsError, Settings
    from pipeline.stage_settings import redact_settings

    try:
        return Redactor(redact_settings(Settings(input=["-"], redaction_key_file=key_file)))
    except OptionsError as error:
        raise ActionError(str(error)) from None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise ActionError("nobody knows who you are here; say it with --actor") from None


def _only_tenant(path: str) -> str:
    with open_store(path) as opened:
        tenants = sorted({view.tenant_id for view in read_views(opened).values()})
    if len(tenants) != 1:
        known = ", ".join(one_line(name, 60) for name in tenants[:5])
        raise ActionError(
            f"the store has alerts of {len(tenants)} tenants ({known}); say whose with --tenant"
            if tenants
            else "the store has no alerts; say whose silence it is with --tenant"
        )
    return tenants[0]


def _read_matcher(text: str) -> Matcher:
    found = _MATCHER.fullmatch(text)
    if found is None or found[1] not in get_args(MatcherName):
        raise ActionError(
            f"--matcher {text!r}: write name=value, name!=value, name=~RE2 or name!~RE2; names are "
            f"{', '.join(get_args(MatcherName))}"
        )
    value = found[3]
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = value[1:-1]
    return Matcher(found[1], found[2], value)  # type: ignore[arg-type]


def _end_of(span: str, until: str) -> int:
    """The end in microseconds. Raises ActionError."""
    if bool(span) == bool(until):
        raise ActionError("a silence needs an end: --for 2h, or --until with a time")
    if until:
        try:
            moment = datetime.fromisoformat(until)
        except ValueError:
            raise ActionError(f"--until {until!r}: write a time such as 2026-01-31T12:00:00Z") from None
        if moment.tzinfo is None:
            raise ActionError(f"--until {until!r}: write it with its zone, such as 2026-01-31T12:00:00Z")
        return round(moment.timestamp() * MICROSECONDS)
    found = _SPAN.fullmatch(span.strip().lower())
    if found is None:
        raise ActionError(f"--for {span!r}: write a span such as 30m, 2h or 7d")
    return wall_clock_us() + int(found[1]) * _UNIT_SECONDS[found[2]] * MICROSECONDS
