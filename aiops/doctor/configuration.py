"""The options, and every file that they name, each read as the job reads it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from aiops.doctor.checks import Check, counted
from aiops.run import EXPECTED
from pipeline.alert_files import check_event_files
from pipeline.baselines_source import read_baselines
from pipeline.catalog_source import read_catalog
from pipeline.prices_source import read_price_file
from pipeline.redaction_key import NoAccessError
from pipeline.rules_source import read_rules
from pipeline.settings import Settings
from pipeline.snapshot_files import check_snapshots
from pipeline.sources import match_files
from pipeline.stage_settings import redact_settings
from transforms.detect.rule_model import effective_rule
from transforms.elements import CANARY_DETECTOR, CANARY_SERVICE, SEVERITY_NUMBERS
from transforms.redact.settings import DemoKey

_LAYER: Final = "configuration"
_STDIN: Final = "-"

Looked = tuple[str, str]
"""What was found, and the mend of a warning or nothing."""


def check_configuration(settings: Settings) -> Iterator[Check]:
    """A check for the options as a whole and for each file."""
    given = len(settings.model_fields_set)
    yield Check(_LAYER, "options", "ok", f"{given} given, all of them understood")
    for subject, mend, look in _readings(settings):
        yield _looked(subject, mend, look)


def check_canary_gets_through(settings: Settings, tenant: str, seconds: int) -> Check:
    """Whether a canary would be found at all by a job with these options."""
    problem = mend = ""
    rules = [effective_rule(rule, tenant, CANARY_SERVICE) for rule in read_rules(settings.rules).rules]
    in_force = [rule for rule in rules if f"rule:{rule.name}" == CANARY_DETECTOR and rule.enabled]
    if not in_force:
        problem, mend = "it is switched off", f"# {settings.rules}: let the rule canary be as it is built in"
    elif settings.services and CANARY_SERVICE not in settings.services:
        problem = "--services leaves its lines out"
        mend = f"# --services {','.join([*settings.services, CANARY_SERVICE])}"
    if problem:
        return Check("canary", "rule canary", "failed", f"{problem}: no canary can come back", mend)
    found = f"in force; a canary is on its way, and waited for {seconds} s at most"
    return Check("canary", "rule canary", "ok", found)


def canary_severity(settings: Settings) -> str:
    """Severity of a canary's line: no error, but none that --min_severity leaves out."""
    return max("NOTICE", settings.min_severity, key=SEVERITY_NUMBERS.__getitem__)


def _readings(settings: Settings) -> Iterator[tuple[str, str, Callable[[], Looked]]]:
    """Subject, mend of what cannot be read, and how the job reads it."""
    for option, patterns in (("--input", settings.input), ("--metrics", settings.metrics)):
        if patterns:
            yield option, "", partial(_files, patterns, option)
    yield "rules", f"aiops rules check {settings.rules}", lambda: _rules(settings)
    if settings.baselines:
        yield "baselines", f"aiops baselines check {settings.baselines}", lambda: _baselines(settings)
    if settings.catalog:
        yield "catalog", f"aiops catalog check {settings.catalog}", lambda: _catalog(settings)
    if settings.enable_gemini_analysis:
        yield "prices", "", lambda: (counted(len(read_price_file(settings.gemini_prices)), "price"), "")
    yield "redaction key", "", lambda: _key(settings)
    if settings.warm_start:
        yield "warm start", "", lambda: _snapshots(settings)
    if settings.alert_events:
        yield "past alerts", "", lambda: _past(settings)


def _looked(subject: str, mend: str, look: Callable[[], Looked]) -> Check:
    try:
        found, warned = look()
    except EXPECTED as error:
        return Check(_LAYER, subject, "failed", str(error).removeprefix(f"{subject} "), mend)
    return Check(_LAYER, subject, "warning" if warned else "ok", found, warned)


def _files(patterns: list[str], option: str) -> Looked:
    files = [path for path in match_files(patterns, option) if path != _STDIN]
    return counted(len(files), "file") if files else "standard input", ""


def _rules(settings: Settings) -> Looked:
    book = read_rules(settings.rules)
    return f"{len(book.rules)} of {settings.rules or 'the built-in pack'}, version {book.version[:8]}", ""


def _baselines(settings: Settings) -> Looked:
    book = read_baselines(settings.baselines)
    return f"{settings.baselines}, version {book.version[:8]}", ""


def _catalog(settings: Settings) -> Looked:
    return f"{len(read_catalog(settings.catalog).entries)} entries of {settings.catalog}", ""


def _key(settings: Settings) -> Looked:
    redact = redact_settings(settings)
    if isinstance(redact.key, DemoKey):
        return (
            "the one that everybody knows: what is hidden can be guessed",
            "openssl rand -hex 32 > key  # and --redaction_key_file key",
        )
    try:
        size = len(redact.key.read())
    except NoAccessError:  # redact_settings lets it pass where the job runs as somebody else
        secret = settings.redaction_key_secret.partition("/versions/")[0]
        role = "--member=serviceAccount:WORKER --role=roles/secretmanager.secretAccessor"
        return (
            "cannot be read with these credentials; the job runs with others",
            f"gcloud secrets add-iam-policy-binding {shlex.quote(secret)} {role}",
        )
    return f"read, {size} bytes, version {redact.key_version}", ""


def _snapshots(settings: Settings) -> Looked:
    check_snapshots(settings.warm_start, settings.window_seconds)
    return f"{counted(len(settings.warm_start), 'file')} of snapshots", ""


def _past(settings: Settings) -> Looked:
    check_event_files(settings.alert_events)
    return f"{counted(len(settings.alert_events), 'file')} of alert events", ""
