"""Policy files: what they may say, what is said of mistakes, and that no secret ever stands in one."""
# ruff: noqa: E501 - tables read best with a case a line

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from aiops.notify.channel_models import EmailChannel, Rate, SlackChannel, WebhookChannel
from aiops.notify.command import app
from aiops.notify.policy_reading import PolicyError, load_policy
from aiops.notify.secrets import SecretError, SecretRef
from transforms.alert.notify_policy import HoursCondition, Match, Step
from transforms.elements import MINUTE_US

WIDE = {"COLUMNS": "160"}
DOCS = Path(__file__).parent.parent / "docs" / "notify.md"
MAIL = "  - {name: mail, type: email, to: a@x.org, sender: b@x.org, host: smtp.x.org}\n"
CHAT = "  - {name: chat, type: slack, url: env:CHAT_URL}\n"
HOURS = "hours:\n  - {name: office, zone: UTC, start: '09:00', end: '17:00'}\n"
ALL = "routes:\n  - {name: all, channels: mail}\n"


def documented() -> str:
    found = re.search(r"## A policy\n.*?```yaml\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def problems_of(text: str) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        load_policy(text, "notify.yaml")
    return caught.value.problems


def channel(keys: str) -> str:
    return f"channels:\n  - {{name: mine, {keys}}}\n{MAIL}{ALL}"


def routes(*lines: str) -> str:
    listed = "".join(f"  - {{{line}}}\n" for line in lines)
    return f"channels:\n{MAIL}{CHAT}{HOURS}routes:\n{listed}"


def test_the_policy_of_the_docs_is_read_as_it_says() -> None:
    """Channels with their defaults and secrets, hours, and routes with steps."""
    policy = load_policy(documented())
    mail, payments = policy.channels["shop-mail"], policy.channels["#payments"]
    assert isinstance(mail, EmailChannel)
    assert (mail.port, mail.security, mail.password) == (587, "starttls", SecretRef("env", "SMTP_PASSWORD"))
    assert isinstance(payments, SlackChannel)
    assert (payments.rate, payments.fallback) == (Rate(20, 60), "shop-mail")
    tickets = policy.channels["tickets"]
    assert isinstance(tickets, WebhookChannel)
    assert tickets.headers == {"X-Team": "shop", "Authorization": SecretRef("env", "TICKETS_AUTHORIZATION")}
    to_alertmanager, payments_route, batch, rest = policy.rules.routes
    assert to_alertmanager.goes_on
    assert payments_route.match == Match(owner=("team-pay*",), severity=("high", "critical"))
    assert payments_route.steps == (
        Step(0, ("catalog|shop-chat", "pager")),
        Step(15 * MINUTE_US, ("shop-mail",)),
        Step(45 * MINUTE_US, ("teams",), HoursCondition("office", inside=False)),
    )
    assert (batch.repeat_us, batch.tells_updates, batch.quiet_hours) == (
        0,
        False,
        (HoursCondition("office", inside=False),),
    )
    assert (batch.wait_us, payments_route.wait_us) == (30 * 1_000_000, 0)
    assert rest.repeat_us == 4 * 3600 * 1_000_000
    assert policy.rules.channels["pager"].takes_acknowledged
    assert policy.rules.channels["alertmanager"].refresh_us


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (channel("type: slak, url: env:X"), '2: channel "mine": type must be one of email, slack, pagerduty, webhook, alertmanager, apprise; did you mean "slack"?'),
        (channel("type: slack"), '2: channel "mine": url is missing, which type slack needs'),
        (channel("type: email, to: a@x.org, host: h"), '2: channel "mine": sender is missing, which type email needs'),
        (channel("type: slack, url: https://hooks.slack.com/services/T0/B0/hush"), '2: channel "mine": url must be env:NAME or file:PATH: the address of slack is its secret'),
        (channel("type: pagerduty, routing_key: hush"), '2: channel "mine": routing_key must be env:NAME or file:PATH: no secret stands in this file'),
        (channel("type: pagerduty, routing_key: 'env:hush hush'"), '2: channel "mine": routing_key must be env:NAME or file:PATH: no secret stands in this file'),
        (channel("type: webhook, url: 'https://ann:hush@x.org/'"), '2: channel "mine": url has a login or a query, which may be secret: name it as env:NAME'),
        (channel("type: webhook, url: 'https://x.org/?token=hush'"), '2: channel "mine": url has a login or a query, which may be secret: name it as env:NAME'),
        (channel("type: webhook, url: ftp://x.org"), '2: channel "mine": url must be an address such as https://alerts.example.com/hook, or env:NAME'),
        (channel("type: webhook, url: 'https://x.org', headers: {X-Api-Key: hush}"), '2: channel "mine": headers must be env:NAME or file:PATH: no secret stands in this file'),
        (channel("type: webhook, url: 'https://x.org', headers: {Host: x}"), '2: channel "mine": headers has "Host", which cannot be set here'),
        (channel("type: slack, url: env:X, to: a@x.org"), '2: channel "mine": to does not go with type slack'),
        (channel("type: email, to: nobody, sender: b@x.org, host: h"), '2: channel "mine": to must be a mail address such as oncall@example.com'),
        (channel('type: email, to: "a@x.org\\nBcc: c@x.org", sender: b@x.org, host: h'), '2: channel "mine": to must be a mail address such as oncall@example.com'),
        (channel("type: email, to: a@x.org, sender: b@x.org, host: h, user: u"), '2: channel "mine": user and password go together; one is missing'),
        (channel("type: email, to: a@x.org, sender: b@x.org, host: h, user: u, password: env:P, security: none"), '2: channel "mine": security: none would send the password in the clear; use starttls or tls'),
        (channel("type: email, to: a@x.org, sender: b@x.org, host: h, security: tls"), '2: channel "mine": security: tls is spoken at port 465 as a rule; say the port, or use starttls'),
        (channel("type: alertmanager, url: 'http://x.org', user: u, password: env:P"), '2: channel "mine": a password would go in the clear over http; use https'),
        (channel("type: slack, url: env:X, rate: fast"), '2: channel "mine": rate must be such as 30/m or 60/h: so many messages a s, m, h or d'),
        (channel("type: slack, url: env:X, timeout: 1h"), '2: channel "mine": timeout must be at most 2m'),
        (channel("type: slack, url: env:X, fallback: mine"), '2: channel "mine": fallback is the channel itself'),
        (channel("type: slack, url: env:X, fallback: mial"), '2: channel "mine": fallback: there is no channel "mial"; did you mean "mail"?'),
        (channel("type: slack, url: env:X, chanel: x"), '2: channel "mine": unknown key "chanel"; there are name, type, to, sender, host, port, security, user, password, url, routing_key, secret, headers, rate, timeout, give_up and fallback'),
        (f"channels:\n{MAIL}{MAIL}{ALL}", '3: channel "mail": the name is taken by the one at line 2'),
        (f"channels:\n  - {{name: catalog, type: slack, url: env:X}}\n{MAIL}{ALL}", '2: channel "catalog": name "catalog" stands for the channel that the service catalog names'),
        (f"chanels:\n{MAIL}{ALL}", '2: unknown key "chanels"; did you mean "channels"?'),
        (f"channels:\n{MAIL}", "1: alerts that no route matches would be told to nobody: end with a route without conditions"),
        (routes("name: a, channels: mail, severity: high"), "7: alerts that no route matches would be told to nobody: end with a route without conditions"),
        (routes("name: a, channels: mail", "name: b, channels: chat"), '8: route "b": is never reached, for "a" at line 7 takes all alerts and stands first'),
        (routes("name: a, channels: mial"), '7: route "a": there is no channel "mial"; did you mean "mail"?'),
        (routes("name: a, channels: catalog"), '7: route "a": channels "catalog" needs a channel for services that it names none of: "catalog or NAME"'),
        (routes("name: a, channels: mail, hours: ofice"), '7: route "a": there are no hours "ofice"; did you mean "office"?'),
        (routes("name: a, channels: mail, escalate: [{after: 5m, channels: mail}]"), '7: route "a": "mail" was told in an earlier step; repeat tells it again'),
        (routes("name: a, channels: mail, escalate: [{after: 5m, channels: chat}, {after: 5m, channels: chat}]"), '7: route "a": escalate must have steps that are later and later'),
        (routes("name: a, channels: mail, escalate: [{channels: chat}]"), '7: route "a": escalate must have steps with after and channels'),
        (routes("name: a, channels: mail, escalate: [{after: 5m, channels: chat, huors: office}]"), '7: route "a": escalate has the unknown key "huors"; did you mean "hours"?'),
        (routes("name: a, channels: mail, repeat: 5"), '7: route "a": repeat must be a duration such as 90s, 15m, 4h or 1d'),
        (routes("name: a, channels: mail, wait: 11m"), '7: route "a": wait must be at most 10m: nobody is told of anything meanwhile'),
        (routes("name: a, channels: mail, repeat: 5s"), '7: route "a": repeat must be at least 1m, or never'),
        (routes("name: a, channels: mail, repeat: 31d"), '7: route "a": repeat must be more than 0 and at most 30d'),
        (routes("name: a, channels: mail, severity: at least hihg"), '7: route "a": severity must be one of low, medium, high, critical; did you mean "high"?'),
        (routes("name: a, channels: mail, type: eror_spike"), '7: route "a": type must be one of error_spike, latency_increase, unusual_pattern, resource_exhaustion, security_incident, performance_degradation, silence, traffic_change, metric_anomaly, new_pattern, certificate_expiry, deploy_regression; did you mean "error_spike"?'),
        (routes("name: a, channels: [mail, mail]"), '7: route "a": channels has mail twice; keep one'),
        (routes("name: a, channels: mail, updates: 1"), '7: route "a": updates must be true or false'),
        (routes("name: a, channels: mail, severty: high"), '7: route "a": unknown key "severty"; did you mean "severity"?'),
        (f"channels:\n{MAIL}hours:\n  - {{name: o, zone: Europe/Brelin}}\n{ALL}", '4: hours "o": zone "Europe/Brelin" is no time zone; did you mean "Europe/Berlin"?'),
        (f"channels:\n{MAIL}hours:\n  - {{name: o, zone: UTC, start: 9}}\n{ALL}", '4: hours "o": start must be a time of day such as "09:00"'),
        (f"channels:\n{MAIL}hours:\n  - {{name: o, zone: UTC, start: '09:00', end: '09:00'}}\n{ALL}", '4: hours "o": start and end are the same; 00:00 to 24:00 is the whole day'),
        (f"channels:\n{MAIL}hours:\n  - {{name: o, zone: UTC, days: []}}\n{ALL}", '4: hours "o": days has no day'),
        ("channels: &a []\nroutes: *a\n", "1: uses an anchor or alias (& or *); write the value out"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line(text: str, problem: str) -> None:
    """Each mistake is told with its line, the entry, the cause and, where one is near, the mend; never with a secret."""
    problems = problems_of(text)
    assert f"notify.yaml:{problem}" in problems
    assert not any("hush" in told for told in problems)


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    """Whatever a file holds, it is read or its problems are named."""
    for file in (text, f"channels:\n  - {{name: {text}\n", f"routes: [{{channels: {text}}}]"):
        with suppress(PolicyError):
            load_policy(file)


def test_check_explains_the_policy_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each channel with the state of its secrets, the hours, and each route as what it does."""
    monkeypatch.setenv("SMTP_PASSWORD", "hush")
    path = tmp_path / "notify.yaml"
    path.write_text(documented())
    result = CliRunner().invoke(app, ["check", str(path)], env=WIDE)
    assert result.exit_code == 0, result.output
    for said in (
        "mail to oncall@shop.example, Shop Team <shop@shop.example> from AIOps <aiops@shop.example>",
        "at most 20/m, given up after 2h",
        "what cannot be sent goes to shop-mail",
        "secret env:SMTP_PASSWORD: is there",
        "secret env:PAGERDUTY_KEY: is NOT there",
        "monday, tuesday, wednesday, thursday, friday, 09:00 to 17:30, clock Europe/Berlin, but not on",
        "takes alerts of owner team-pay*, severity at least high",
        "tells the catalog's channel, or else shop-chat, pager at once",
        "tells teams after 45m without acknowledgment, out of hours office",
        "keeps quiet out of hours office; then tells what still holds",
        "the routes after it are tried as well",
    ):
        assert said in result.output, said
    assert "hush" not in result.output


def test_check_names_every_problem(tmp_path: Path) -> None:
    """All mistakes at once, with file and line; the exit code says that there are some."""
    path = tmp_path / "notify.yaml"
    path.write_text(routes("name: a, channels: mial", "name: b, channels: chta"))
    result = CliRunner().invoke(app, ["check", str(path)])
    assert result.exit_code == 1
    assert f'{path}:7: route "a": there is no channel "mial"' in result.output
    assert f'{path}:8: route "b": there is no channel "chta"' in result.output
    missing = CliRunner().invoke(app, ["check", str(tmp_path / "nope.yaml")])
    assert (missing.exit_code, "cannot be read" in missing.output) == (1, True)


def test_secrets_are_read_where_the_policy_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the environment or a file, anew each time; what is missing is named, its content never."""
    path = tmp_path / "key"
    path.write_text("first\n")
    assert SecretRef("file", str(path)).reveal() == "first"
    path.write_text("second\n")
    assert SecretRef("file", str(path)).reveal() == "second"
    monkeypatch.setenv("AIOPS_TEST_KEY", " third ")
    assert SecretRef("env", "AIOPS_TEST_KEY").reveal() == "third"
    path.write_text("two\nlines")
    for secret, cause in (
        (SecretRef("env", "AIOPS_TEST_NO_KEY"), "is not set"),
        (SecretRef("file", str(tmp_path / "no")), "cannot be read: No such file"),
        (SecretRef("file", str(path)), "line breaks"),
    ):
        with pytest.raises(SecretError, match=cause) as caught:
            secret.reveal()
        assert "two" not in str(caught.value)
