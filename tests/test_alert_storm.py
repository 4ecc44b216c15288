"""A storm of anomalies in one tenant: few alerts, little state, and nothing for the others to feel."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from alert_bench import START, Desk, contradiction, make_anomaly
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.storm import delays, quantile, run, storm_events
from transforms.alert.settings import AlertSettings
from transforms.alert.symptoms import STORM, STORM_SERVICE, Symptom, symptom_of
from transforms.alert.thin import (
    SHARDS,
    Shard,
    combine_symptoms,
    pass_symptoms,
    release_symptoms,
    shard_of,
)
from transforms.alert_elements import Matcher
from transforms.elements import MICROSECONDS

SETTINGS = AlertSettings()


def test_beyond_the_most_fingerprints_there_is_one_storm() -> None:
    """500 groups have alerts of their own; all others are one alert that counts them."""
    desk = Desk()
    for number in range(2000):
        desk.anomaly(f"service-{number}", severity="critical" if number == 1999 else "low")
    events = desk.wait(30)
    assert Counter(event.event_type for event in events) == {"opened": 501}
    [storm] = [event for event in events if event.group_key == STORM]
    assert (storm.service, storm.anomaly_count, storm.severity) == (STORM_SERVICE, 1500, "critical")
    assert "1500 anomalies" in storm.summary
    for number in range(2000):
        desk.anomaly(f"service-{number}", "latency")
    updates = Counter(event.group_key for event in desk.wait(600))
    assert max(updates.values()) == 1
    assert desk.book.tracked <= 500
    assert contradiction(desk.log) == ""


def test_one_service_with_endless_findings_is_one_alert() -> None:
    """Its newest hundred fingerprints are kept, all are counted; other services have room."""
    desk = Desk()
    for number in range(5000):
        desk.anomaly("cart", f"detector-{number}")
    [opened] = desk.wait(30)
    assert opened.anomaly_count == 5000
    for number in range(5000, 10_000):
        desk.anomaly("cart", f"detector-{number}")
    assert len(desk.book.alerts[opened.alert_id].findings) == 100
    assert desk.opened("pay")
    assert desk.types(opened.alert_id) == ["opened"]
    desk.wait(300)
    assert desk.types(opened.alert_id) == ["opened", "updated"]


def test_the_storm_ends_like_any_alert_and_only_what_names_it_silences_it() -> None:
    """A silence of services does not hide what nobody has looked at."""
    desk = Desk(AlertSettings(most_fingerprints=1))
    desk.silence(Matcher("service", "=~", "s-.*"), seconds=100_000)
    for number in range(5):
        desk.anomaly(f"s-{number}")
    opened = {event.service: event for event in desk.wait(30)}
    assert opened["s-0"].silence_id
    assert not opened[STORM_SERVICE].silence_id
    [silence, event] = desk.silence(Matcher("service", "=", STORM_SERVICE))
    assert (event.alert_id, event.silence_id) == (opened[STORM_SERVICE].alert_id, silence.alert_id)
    desk.wait(900)
    assert desk.types(event.alert_id)[-1] == "resolved"


@pytest.mark.slow
def test_a_storm_of_100_000_gives_a_bounded_number_of_events() -> None:
    """All different, in one minute, through the DoFns: at most 501 alerts, and every other tenant's own."""
    worker = run(100_000, 60, SETTINGS)
    events = storm_events(worker)
    assert events["opened"] <= 501
    assert sum(events.values()) <= 3000
    counted = [
        event for _, event in worker.log if event.event_type == "resolved" and event.group_key == STORM
    ]
    assert counted
    assert len(delays(worker)) == 900  # none of the others' alerts is missing
    assert contradiction([event for _, event in worker.log]) == ""
    assert worker.largest_state < 5_000_000


@pytest.mark.slow
def test_a_small_storm_delays_no_other_tenant() -> None:
    """95 of 100 alerts of the others open within twice the usual delay, with margin for a busy machine."""
    calm, stormy = run(0, 1, SETTINGS), run(3000, 10, SETTINGS)
    assert quantile(delays(stormy), 0.95) <= 2 * quantile(delays(calm), 0.95)


# --------------------------------------------------------------------------------- made small


def symptoms(count: int, service: str = "cart") -> list[Symptom]:
    return [symptom_of(make_anomaly(service, f"detector-{n}"), SETTINGS) for n in range(count)]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2), st.booleans()), max_size=30),
    st.randoms(use_true_random=False),
)
def test_combining_is_the_same_in_any_order(
    given_ones: list[tuple[int, int, int, bool]], chance: object
) -> None:
    """Copies and revisions count once, repeats all count; no order and no withdrawal is lost."""
    ones = [
        symptom_of(
            make_anomaly(
                detector=f"d{detector}",
                severity=("low", "high")[is_high],
                at=START + minute * 10 * MICROSECONDS,
                revision=revision,
            ),
            SETTINGS,
        )
        for detector, minute, revision, is_high in given_ones
    ]
    combined = combine_symptoms(ones)
    chance.shuffle(ones)  # type: ignore[attr-defined]
    again = combine_symptoms(ones)
    counted = [(one.fingerprint, one.count, one.severity, sorted(one.more_ids)) for one in combined]
    assert counted == [(one.fingerprint, one.count, one.severity, sorted(one.more_ids)) for one in again]
    assert sum(one.count for one in combined) == len({one.anomaly_id for one in ones})


def test_a_shard_passes_the_first_and_holds_the_rest() -> None:
    """The first of each fingerprint goes on at once; repeats and what is beyond the share are numbers."""
    shard, ones = Shard(), symptoms(10)
    assert pass_symptoms(shard, ones, START, 4) == ones[:4]
    assert not pass_symptoms(shard, ones[:4], START, 4)  # copies
    later = [
        symptom_of(make_anomaly(detector="detector-0", at=START + 10 * MICROSECONDS), SETTINGS),
        symptom_of(make_anomaly(detector="detector-1", severity="critical", at=START + 10), SETTINGS),
    ]
    assert pass_symptoms(shard, later, START, 4) == later[1:]  # worse: at once
    held = release_symptoms(shard)
    assert [(one.fingerprint, one.count) for one in held] == [("", 6), (later[0].fingerprint, 1)]
    assert release_symptoms(shard) == []
    assert pass_symptoms(shard, ones[5:], START + 61 * MICROSECONDS, 4) == ones[5:9]  # a new minute


def test_what_is_held_counts_in_its_group_or_in_the_storm() -> None:
    """Numbers without a fingerprint join the open alert of their group, else the storm's."""
    desk = Desk()
    alert = desk.opened("cart")
    shard = Shard()
    pass_symptoms(shard, [*symptoms(5), *symptoms(7, "pay")], desk.now, 0)
    for symptom in release_symptoms(shard):
        desk.give(symptom)
    desk.wait(30)
    storm = desk.log[-1]
    assert (storm.group_key, storm.anomaly_count) == (STORM, 7)
    assert desk.book.alerts[alert].anomaly_count == 6


def test_many_groups_beyond_the_share_are_the_storm() -> None:
    """What a shard holds is bounded too, and nothing is left uncounted."""
    shard = Shard()
    ones = [symptom_of(make_anomaly(f"service-{n}"), SETTINGS) for n in range(1000)]
    pass_symptoms(shard, ones, START, 10)
    held = release_symptoms(shard)
    assert len(held) <= 21
    assert sum(one.count for one in held) == 990
    assert sum(one.count for one in held if one.group_key == STORM) == 970


def test_withdrawals_pass() -> None:
    """They are news, whatever passed before."""
    [one] = symptoms(1)
    shard = Shard()
    pass_symptoms(shard, [one], START, 4)
    withdrawn = msgspec.structs.replace(one, is_withdrawn=True, revision=1)
    assert pass_symptoms(shard, [withdrawn], START, 4) == [withdrawn]


def test_a_fingerprint_has_one_shard() -> None:
    """Else its copies would not meet; and all shards are used."""
    shards = [shard_of(one) for one in symptoms(500)]
    assert shards == [shard_of(one) for one in symptoms(500)]
    assert set(shards) == set(range(SHARDS))
