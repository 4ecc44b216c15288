"""After a deploy: what is blamed on it, how soon, and what never is."""

from __future__ import annotations

import math
import random
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiops.simulate.config import SimulationConfig
from aiops.simulate.generator import simulate
from pipeline.duckdb_store import DuckDBStore
from pipeline.main import run
from transforms.detect import deploy_memory
from transforms.detect.deploy_changes import needed_z, rate_change_z
from transforms.detect.deploys import DeployMemory, DeployRegression, regression_finding, watch_deploys
from transforms.detect.findings import make_anomaly
from transforms.detect.signals import HISTORY_WINDOWS, WindowSignals, compact, signals_of
from transforms.elements import MINUTE_US, DeployEvent, Example, PatternStats, WindowSummary, content_id
from transforms.summarize.merging import drop_lone_revision

START = 30_000_000  # minutes since 1970

Counts = dict[str, "int | dict[str, int]"]
"""Text → lines, or lines by revision. Texts that begin with E are errors, with W warnings."""

USUAL: Counts = {"served <*>": 60, "cache hit for <*>": 30, "login of <*>": 9, "W slow": 1}
CODER = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(DeployMemory)


class Service:
    """One service, minute by minute. The memory is written and read between windows, as state is."""

    def __init__(self) -> None:
        self.memory = DeployMemory()
        self.past: list[WindowSignals] = []
        self.first_seen: dict[str, int] = {}
        self.now = 0
        self.newest = WindowSummary("acme", "cart", 0, 60)

    def minutes(self, number: int, counts: Counts, **fields: object) -> list[DeployRegression]:
        return [found for _ in range(number) for found in self.minute(counts, **fields)]

    def minute(
        self, counts: Counts, deploy: str | list[str] = "", second: int = 0, **fields: object
    ) -> list[DeployRegression]:
        start_us = (START + self.now) * MINUTE_US
        names = [deploy] if isinstance(deploy, str) else deploy
        events = [
            DeployEvent(start_us + second * 1_000_000, "Replace", name, "<email:v1:1>")
            for name in names
            if name
        ]
        summary = make_window(start_us, counts, self.first_seen)
        self.newest = drop_lone_revision(msgspec.structs.replace(summary, deploys=events, **fields))
        self.now += 1
        found = watch_deploys(self.memory, self.newest, self.past[-HISTORY_WINDOWS:])
        encoded = CODER[0].encode(self.memory)
        assert len(encoded) <= 8192
        self.memory = CODER[1].decode(encoded)
        self.past.append(compact(signals_of(self.newest)))
        return found


def make_window(start_us: int, counts: Counts, first_seen: dict[str, int]) -> WindowSummary:
    summary = WindowSummary("acme", "cart", start_us, 60)
    for text, said in counts.items():
        by_revision = said if isinstance(said, dict) else {}
        lines = said if isinstance(said, int) else sum(said.values())
        if not lines:
            continue
        severity = {"E": 500, "W": 400}.get(text[0], 200)
        errors = lines if severity == 500 else 0
        examples = [Example(1, start_us, "i", f"line of {text}")]
        seen = first_seen.setdefault(text, start_us)
        named = {revision: count for revision, count in by_revision.items() if revision and count}
        summary.patterns[content_id(text)[:16]] = PatternStats(
            text, lines, errors, severity, examples, first_seen_us=seen, revisions=named
        )
        summary.lines += lines
        summary.errors += errors
        for revision, count in named.items():
            summary.revisions[revision] = summary.revisions.get(revision, 0) + count
    return summary


def of(revision: str, counts: Counts) -> Counts:
    return {text: {revision: lines} for text, lines in counts.items() if isinstance(lines, int)}


def both(first: Counts, second: Counts) -> Counts:
    texts = dict.fromkeys([*first, *second])
    empty: dict[str, int] = {}
    return {text: {**first.get(text, empty), **second.get(text, empty)} for text in texts}  # type: ignore[dict-item]


def share(counts: Counts, percent: int) -> Counts:
    return {text: round(lines * percent / 100) for text, lines in counts.items() if isinstance(lines, int)}


def after_usual(minutes: int = 30, revision: str = "") -> Service:
    service = Service()
    assert service.minutes(minutes, of(revision, USUAL) if revision else USUAL) == []
    return service


# ----------------------------------------------------------------------------- what is blamed


@pytest.mark.parametrize(
    ("counts", "severity", "kind"),
    [
        ({**USUAL, "E checkout failed: <*>": 50}, "high", "new"),
        ({**USUAL, "E checkout failed: <*>": 8}, "medium", "new"),
        ({**USUAL, "W slow": 20}, "low", "up"),
        ({**USUAL, "W retry <*>": 12}, "low", "new"),
        ({text: USUAL[text] for text in USUAL if not text.startswith("cache")}, "low", "gone"),
    ],
)
@pytest.mark.parametrize("revision", ["", "r"])
def test_a_bad_deploy_is_found_within_two_windows(
    counts: Counts, severity: str, kind: str, revision: str
) -> None:
    """New or grown warnings and errors, and material patterns that are gone, are reported at once."""
    service = after_usual(revision=revision and "r1")
    service.minute(of("r1", USUAL) if revision else USUAL, deploy="v2")
    found = service.minutes(2, of("r2", counts) if revision else counts)
    assert [(report.severity, report.changes[0].kind) for report in found] == [(severity, kind)]
    assert found[0].deploy.what == "v2"
    assert found[0].windows_since <= 2
    assert service.minutes(40, of("r2", counts) if revision else counts) == []


def test_a_deploy_is_reported_again_only_when_it_gets_worse() -> None:
    """From a few errors to many there are two reports, the second one high, and then no more."""
    service = after_usual()
    service.minute(USUAL, deploy="v2")
    found = service.minutes(5, {**USUAL, "E failed": 6}) + service.minutes(20, {**USUAL, "E failed": 90})
    assert [report.severity for report in found] == ["medium", "high"]


def test_errors_that_no_pattern_shows_are_found_by_their_share() -> None:
    """Errors spread over patterns that were there before make the error share grow."""
    service = after_usual()
    service.minute(USUAL, deploy="v2")
    (report, *_) = service.minutes(3, {**USUAL, **{f"E kind {number}": 3 for number in range(12)}})
    assert report.severity == "high"
    assert report.error_rate == pytest.approx(36 / 136)
    assert report.error_rate_before == 0
    assert "26.5% of 136 lines are errors, 0.0% were before" in report.reason


def test_a_canary_is_told_from_the_revision_beside_it() -> None:
    """A tenth of the lines is of the new revision, and it is these that count."""
    service = after_usual(revision="r1")
    service.minute(of("r1", USUAL), deploy="v2")
    bad: Counts = {"served <*>": 4, "E failed: <*>": 6}
    found = service.minutes(4, both(of("r1", share(USUAL, 90)), of("r2", bad)))
    assert [report.severity for report in found] == ["medium", "high"]
    assert found[0].error_rate == pytest.approx(0.6)
    assert "of 10 lines of the new revision" in found[0].reason


def test_lines_of_the_new_revision_in_the_window_of_the_deploy_count() -> None:
    """Where lines say their revision, nobody waits for the next window."""
    service = after_usual(revision="r1")
    counts = both(of("r1", share(USUAL, 50)), of("r2", {"served <*>": 20, "E failed": 30}))
    (report,) = service.minute(counts, deploy="v2")
    assert (report.severity, report.windows_since) == ("high", 0)


def test_two_revisions_side_by_side_need_no_history() -> None:
    """With too few windows before, the old revision in the same windows is the measure."""
    service = after_usual(minutes=2, revision="r1")
    service.minute(of("r1", USUAL), deploy="v2")
    counts = both(of("r1", share(USUAL, 70)), of("r2", {"served <*>": 20, "E failed": 10}))
    assert [report.severity for report in service.minutes(3, counts)] == ["medium", "high"]


# --------------------------------------------------------------------------- what never is


def test_too_little_history_compares_nothing() -> None:
    """With nine windows before and one revision at a time, nothing is said; with ten it is."""
    bad: Counts = {**USUAL, "E failed": 50}
    for minutes, reports in ((9, 0), (10, 1)):
        service = after_usual(minutes)
        assert len(service.minute(USUAL, deploy="v2") + service.minutes(5, bad)) == reports


def test_new_information_after_a_deploy_is_normal() -> None:
    """Lines below WARNING that are new, more or less are not news, but they are the context of news."""
    service = after_usual()
    service.minute(USUAL, deploy="v2")
    chatty: Counts = {**USUAL, "feature <*> on": 70, "login of <*>": 90}
    assert service.minutes(10, chatty) == []
    (report,) = service.minutes(10, {**chatty, "E failed": 9})
    first, *others = [(change.text, change.is_context) for change in report.changes]
    assert first == ("E failed", False)
    assert ("feature <*> on", True) in others


@pytest.mark.parametrize("minutes_before", [1, 2, 3, 10])
def test_an_incident_from_before_the_deploy_is_not_blamed_on_it(minutes_before: int) -> None:
    """Errors that were there in the minutes before the deploy are somebody else's."""
    service = after_usual()
    incident: Counts = {**USUAL, "E upstream failed": 60}
    service.minutes(minutes_before, incident)
    service.minute(incident, deploy="v2")
    assert service.minutes(30, incident) == []


def test_an_incident_that_hits_both_revisions_is_not_blamed_on_the_new_one() -> None:
    """What the old revision shows in the same windows did not come with the new one."""
    service = after_usual(revision="r1")
    service.minute(of("r1", USUAL), deploy="v2")
    service.minutes(3, both(of("r1", share(USUAL, 60)), of("r2", share(USUAL, 40))))
    incident: Counts = {**USUAL, "E upstream failed": 60}
    assert service.minutes(25, both(of("r1", share(incident, 60)), of("r2", share(incident, 40)))) == []


def test_what_comes_in_bursts_may_come_again() -> None:
    """A warning that comes sixty at a time, every quarter of an hour, proves nothing by coming."""
    service = Service()
    for minute in range(60):
        service.minute({**USUAL, "W batch is late": 60 * (minute % 15 == 7)})
    service.minute(USUAL, deploy="v2")
    found = [
        report
        for minute in range(30)
        for report in service.minute({**USUAL, "W batch is late": 60 * (minute % 15 == 1)})
    ]
    assert found == []


def test_what_came_back_after_an_hour_is_no_news_by_itself() -> None:
    """A nightly job's warnings are known, though not from the last hour."""
    service = Service()
    service.minutes(5, {**USUAL, "W nightly report is slow": 40})
    service.minutes(70, USUAL)
    service.minute(USUAL, deploy="v2")
    assert service.minutes(5, {**USUAL, "W nightly report is slow": 40}) == []


@pytest.mark.parametrize(
    ("gone", "instead"),
    [
        ("cache hit for <*>", {"cache answered <*> at once": 30}),  # renamed
        ("cache hit for <*>", {"cache <*> for <*>": 31}),  # more of it varies
        ("login of <*>", {}),  # few
        ("W slow", {}),  # good
    ],
)
def test_a_pattern_that_is_renamed_merged_or_bad_is_not_missed(gone: str, instead: Counts) -> None:
    """Only what is gone without another in its place, and was a good share of the lines, is missed."""
    before: Counts = {**USUAL, "login of <*>": 4, "W slow": 30, **dict.fromkeys(instead, 0)}
    if "cache <*> for <*>" in instead:
        before["cache <*> for <*>"] = 1
    service = Service()
    service.minutes(30, before)
    service.minute(before, deploy="v2")
    counts: Counts = {text: lines for text, lines in before.items() if text != gone}
    assert service.minutes(30, {**counts, **instead}) == []


def test_a_pattern_that_stopped_before_the_deploy_is_not_missed() -> None:
    """What had ended before the deploy did not end with it."""
    service = after_usual()
    counts: Counts = {text: USUAL[text] for text in USUAL if not text.startswith("cache")}
    service.minutes(5, counts)
    service.minute(counts, deploy="v2")
    assert service.minutes(30, counts) == []


def test_what_both_revisions_stopped_writing_is_not_missed() -> None:
    """Nobody asks for the cache any more: that is not the new revision's doing."""
    service = after_usual(revision="r1")
    counts: Counts = {text: USUAL[text] for text in USUAL if not text.startswith("cache")}
    service.minute(of("r1", USUAL), deploy="v2")
    assert service.minutes(20, both(of("r1", share(counts, 50)), of("r2", share(counts, 50)))) == []
    asked = both(of("r1", share(USUAL, 50)), of("r2", share(counts, 50)))
    service = after_usual(revision="r1")
    service.minute(of("r1", USUAL), deploy="v2")
    assert [report.changes[0].kind for report in service.minutes(20, asked)] == ["gone"]


def test_lines_without_a_revision_are_not_missed_in_the_new_one() -> None:
    """A pattern that never says its revision is there, whoever writes it."""
    service = Service()
    access: Counts = {"GET /cart <*>": {"": 40}}
    service.minutes(30, both(of("r1", USUAL), access))
    service.minute(both(of("r1", USUAL), access), deploy="v2")
    assert service.minutes(20, both(both(of("r1", {"served <*>": 9}), of("r2", USUAL)), access)) == []


def test_an_error_that_changed_its_words_is_no_regression() -> None:
    """As many errors as before under another text are as many errors as before."""
    service = Service()
    service.minutes(30, {**USUAL, "E connection lost": 5})
    service.minute({**USUAL, "E connection lost": 5}, deploy="v2")
    assert service.minutes(30, {**USUAL, "E connection was lost (<*>)": 5}) == []


def test_what_comes_half_an_hour_later_is_not_blamed_on_the_deploy() -> None:
    """The watch ends after 30 minutes, and nothing of it stays in the memory."""
    service = after_usual()
    service.minute(USUAL, deploy="v2")
    service.minutes(30, USUAL)
    assert service.minutes(5, {**USUAL, "E failed": 50}) == []
    assert service.memory.pending == []


def test_a_pattern_with_one_error_among_many_lines_is_no_error() -> None:
    """The highest severity of a pattern may be that of a single line: it is judged by its errors."""
    service = Service()
    first_seen: dict[str, int] = {}
    for minute in range(60):
        start_us = (START + minute) * MINUTE_US
        summary = make_window(start_us, {**USUAL, "I <*>": 5 if minute < 30 else 25}, first_seen)
        mixed = summary.patterns[content_id("I <*>")[:16]]
        mixed.severity, mixed.errors = 500, int(minute % 10 == 0)
        summary.errors = mixed.errors
        summary.deploys = [DeployEvent(start_us, "Replace", "v2", "")] if minute == 29 else []
        assert watch_deploys(service.memory, summary, service.past) == []
        service.past.append(compact(signals_of(summary)))


# ------------------------------------------------------------------------- several deploys


def test_of_two_deploys_the_bad_one_is_blamed() -> None:
    """With revisions and without them, what comes after the second deploy is not the first one's."""
    for revisions in (("", "", ""), ("r1", "r2", "r3")):
        first, second, third = (
            (lambda counts, name=name: of(name, counts) if name else counts) for name in revisions
        )
        service = Service()
        service.minutes(30, first(USUAL))
        service.minute(first(USUAL), deploy="v2")
        service.minutes(5, second(USUAL))
        service.minute(second(USUAL), deploy="v3")
        found = service.minutes(10, third({**USUAL, "E failed": 50}))
        assert {report.deploy.what for report in found} == {"v3"}


@pytest.mark.parametrize("last", ["r1", "r3"])
def test_a_roll_back_is_not_blamed_for_what_it_ends(last: str) -> None:
    """Of a bad deploy and the one that takes it back only the first is reported."""
    service = after_usual(revision="r1")
    service.minute(of("r1", USUAL), deploy="v2")
    found = service.minutes(5, of("r2", {**USUAL, "E failed": 50}))
    found += service.minute(of("r2", {**USUAL, "E failed": 50}), deploy="v1")
    found += service.minutes(40, of(last, USUAL))
    assert {report.deploy.what for report in found} == {"v2"}


def test_a_failed_mend_is_not_blamed_for_the_errors_it_found() -> None:
    """A second deploy under which the errors go on did not bring them."""
    service = after_usual()
    service.minute(USUAL, deploy="v2")
    bad: Counts = {**USUAL, "E failed": 50}
    found = service.minutes(6, bad) + service.minute(bad, deploy="v3") + service.minutes(30, bad)
    assert [report.deploy.what for report in found] == ["v2"]


def test_the_same_thing_in_the_next_region_is_the_same_deploy() -> None:
    """Within five minutes the same image again does not start the comparison anew."""
    service = after_usual()
    service.minute(USUAL, deploy="v2")
    service.minutes(3, USUAL)
    service.minute(USUAL, deploy="v2")
    assert [deploy.deployed_at_us for deploy in service.memory.pending] == [(START + 30) * MINUTE_US]
    service.minutes(5, USUAL)
    service.minute(USUAL, deploy="v2")
    assert [deploy.deployed_at_us for deploy in service.memory.pending] == [(START + 40) * MINUTE_US]


def test_further_deploys_of_one_window_are_said() -> None:
    """What cannot be told apart is named as such."""
    service = after_usual()
    service.minute(USUAL, deploy=["v2", "v3"])
    (report,) = service.minutes(2, {**USUAL, "E failed": 50})
    assert report.reason.startswith("Since the roll-out of v3 and 1 more, ")


def test_a_service_whose_revisions_do_not_change_is_compared_as_a_whole() -> None:
    """Where no new revision shows within three windows, all lines count."""
    service = after_usual(revision="same")
    service.minute(of("same", USUAL), deploy="v2")
    (report,) = service.minutes(6, of("same", {**USUAL, "E failed": 50}))
    assert (report.severity, report.windows_since) == ("high", 4)


def test_a_late_roll_out_is_compared_from_its_first_lines() -> None:
    """Once lines of a new revision come, those of the old one no longer count for it."""
    service = after_usual(revision="r1")
    service.minute(of("r1", USUAL), deploy="v2")
    assert service.minutes(8, of("r1", USUAL)) == []
    counts = both(of("r1", share(USUAL, 80)), of("r2", {"served <*>": 10, "E failed": 10}))
    (report, *_) = service.minutes(2, counts)
    assert (report.lines_since, report.error_rate) == (20, 0.5)


def test_a_revision_of_an_earlier_deploy_is_an_old_one() -> None:
    """What an earlier deploy brought is not blamed on the next one, though its first lines were few."""
    service = after_usual(revision="r1")
    service.minute(both(of("r1", USUAL), of("r2", {"served <*>": 3})), deploy="v2")
    service.minute(both(of("r1", USUAL), of("r2", {"served <*>": 1})), deploy="v3")
    found = service.minutes(3, both(of("r3", USUAL), of("r2", {**USUAL, "E failed": 50})))
    assert found == []


def test_windows_with_coarse_patterns_compare_nothing() -> None:
    """Where names were coarsened to fit, they are not those of before."""
    service = after_usual()
    service.minute(USUAL, deploy="v2")
    assert service.minutes(10, {"<*>": 100, "E <*>": 40}, pattern_level=3) == []


# ------------------------------------------------------------------------------ properties


def harmless_reports(draws: int, seed: int) -> int:
    """How many of `draws` deploys that change nothing are reported."""
    chance = random.Random(seed)
    reported = 0
    for _ in range(draws):
        texts = [
            "served",
            "hit",
            "login",
            *(f"info {n}" for n in range(8)),
            "W slow",
            "W retry",
            "E a",
            "E b",
            "E c",
        ]
        weights = [math.exp(chance.gauss(0, 1.5)) * (0.05 if text[0] in "EW" else 1) for text in texts]
        service = Service()
        busy = chance.choice([10, 40, 120])
        revisions = chance.random() < 0.5

        def draw(lines: int, revision: str) -> Counts:
            counts = Counter(chance.choices(texts, weights, k=lines))  # noqa: B023
            return of(revision, dict(counts)) if revisions else dict(counts)  # noqa: B023

        found: list[DeployRegression] = []
        for _ in range(chance.randint(10, 30)):
            service.minute(draw(busy, "r1"))
        service.minute(draw(busy, "r1"), deploy="v2")
        for _ in range(30):
            found += service.minute(
                both(draw(busy // 3, "r1"), draw(busy, "r2")) if revisions else draw(busy, "")
            )
        reported += bool(found)
    return reported


def test_a_harmless_deploy_is_not_reported() -> None:
    """Lines drawn from the same distribution before and after: one report in a hundred deploys at most."""
    assert harmless_reports(100, seed=1) <= 1


@pytest.mark.slow
def test_of_a_thousand_harmless_deploys_hardly_any_is_reported() -> None:
    """The rate of false reports is below the one per cent that the test is built for."""
    assert harmless_reports(1_000, seed=2) <= 10


NAMES = st.sampled_from(["", "r1", "r2", "r3", "\U0001f4a5" * 300, "*"])
WINDOWS = st.tuples(
    st.dictionaries(
        st.sampled_from(["served", "W slow", "E failed", "E " + "\U0001f4a5" * 200, "hit <*>"]),
        st.dictionaries(NAMES, st.integers(0, 200), max_size=3),
        max_size=5,
    ),
    st.sampled_from(["", "", "", "v2", "v3", "\U0001f4a5" * 300]),
)


@given(st.lists(WINDOWS, max_size=30), st.integers(0, 12), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_the_same_windows_give_the_same_reports(
    windows: list[tuple[Counts, str]], minutes: int, chance: random.Random
) -> None:
    """Whatever comes, nothing fails, the order of dicts does not matter, and severities only rise."""
    first, second = after_usual(minutes), after_usual(minutes)
    found: list[DeployRegression] = []
    for counts, deploy in windows:
        shuffled = dict(chance.sample(sorted(counts.items(), key=lambda item: item[0]), len(counts)))
        reports = first.minute(counts, deploy=deploy)
        assert second.minute(shuffled, deploy=deploy) == reports
        found += reports
    order = ["low", "medium", "high"]
    for deploy_id in {report.deploy.deploy_id for report in found}:
        levels = [order.index(report.severity) for report in found if report.deploy.deploy_id == deploy_id]
        assert levels == sorted(set(levels))
    for report in found:
        assert "\n" not in report.reason
        assert len(report.reason) < 600


def test_the_memory_is_small_whatever_is_logged() -> None:
    """Hundreds of patterns and revisions with long names leave less than 8 KiB; `minute` checks it."""
    long = "\U0001f4a5" * 300
    many: Counts = {f"{'EW '[n % 3]}{n} {long}": {f"r{n % 50}{long}": 50_000_000 + n} for n in range(300)}
    service = Service()
    service.minutes(12, many)
    for turn in range(4):
        new: Counts = {f"{'EW '[n % 3]}{n} {turn}": {f"new{turn}{n % 9}": 90_000_000 + n} for n in range(99)}
        service.minute(both(many, new), deploy=f"{turn}{long}")
        service.minutes(3, both(many, new))
    assert len(service.memory.pending) == deploy_memory.MAX_PENDING


def test_z_agrees_with_the_exact_test() -> None:
    """The signed root of G is as sure as the exact conditional binomial test, within a tenth."""
    for after, before, ratio in ((5, 0, 30), (20, 3, 10), (60, 40, 3), (12, 0, 2)):
        total, p = after + before, 1 / (1 + ratio)
        tail = sum(math.comb(total, k) * p**k * (1 - p) ** (total - k) for k in range(after, total + 1))
        z = rate_change_z(after, 100, before, 100 * ratio)
        assert math.erfc(z / math.sqrt(2)) / 2 == pytest.approx(tail, rel=1.0, abs=1e-9)


@given(st.integers(0, 1000), st.integers(1, 5000), st.integers(0, 1000), st.integers(1, 5000))
def test_z_has_the_sign_of_the_change(after: int, after_lines: int, before: int, before_lines: int) -> None:
    """Swapping the sides swaps the sign, and equal rates differ by nothing."""
    z = rate_change_z(after, after_lines, before, before_lines)
    assert z == pytest.approx(-rate_change_z(before, before_lines, after, after_lines), abs=1e-6)
    assert z * (after * before_lines - before * after_lines) >= 0
    assert rate_change_z(after, after_lines, after, after_lines) == 0
    assert needed_z(100) > needed_z(1) > 3


# ------------------------------------------------------------------------------------ anomaly


def test_a_regression_becomes_an_anomaly_with_evidence() -> None:
    """It names the deploy, the share of errors before and since, and lines of the patterns at fault."""
    service = after_usual()
    service.minute(USUAL, deploy="europe-docker.pkg.dev/acme/cart:v2", second=20)
    (report,) = service.minutes(2, {**USUAL, "E checkout failed: <*>": 50})
    anomaly = make_anomaly(service.newest, regression_finding(service.newest, report), 0.0)
    assert (anomaly.anomaly_type, anomaly.anomaly_severity, anomaly.detector) == (
        "deploy_regression",
        "high",
        "deploys",
    )
    assert anomaly.description.startswith("Since the roll-out of cart:v2, 33.3% of ")
    metric = anomaly.metrics[0]
    assert (metric.name, metric.value, metric.baseline) == ("error_rate", pytest.approx(1 / 3), 0.0)
    assert anomaly.evidence[0].pattern == "E checkout failed: <*>"
    assert anomaly.evidence[0].examples[0].message == "line of E checkout failed: <*>"
    assert "Roll the service back" in anomaly.recommended_actions[0]
    assert anomaly.detected_at == anomaly.window_end == service.newest.window_start_us + MINUTE_US
    assert report.deploy.deployed_at == (START + 30) * MINUTE_US + 20_000_000
    assert not anomaly.below_confidence_floor
    assert make_anomaly(
        service.newest, regression_finding(service.newest, report), 0.99
    ).below_confidence_floor


def test_the_job_writes_the_deploys_of_a_service(tmp_path: Path) -> None:
    """What the audit log tells of a roll-out is a row of the service that was rolled out."""
    logs, store = tmp_path / "logs.ndjson", str(tmp_path / "store.duckdb")
    faults = "bad_deploy@cart+20s/40s,bad_deploy@email+30s/40s"
    config = SimulationConfig(seed=1, duration_seconds=90, rate=20.0, tenants=1, faults=faults)
    logs.write_bytes(b"\n".join(simulate(config)))
    run(["--input", str(logs), "--store", store])
    with DuckDBStore(store, read_only=True) as opened:
        rows = opened.query("SELECT service, what FROM current_deploys ORDER BY deployed_at")
    deploys = Counter((row["service"], row["what"].rpartition("/")[2]) for row in rows)
    assert deploys == {("cart", "cart:v1.8.0"): 1, ("cart", "cart:v1.8.1"): 1, ("email", "email"): 2}
