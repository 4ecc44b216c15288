"""The operator's file on learned detection: what it may say, and what is said of mistakes."""
# ruff: noqa: E501 - tables read best with a case a line

from __future__ import annotations

import pickle
from contextlib import suppress
from datetime import date

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.detect.baselines.book import (
    BaselineBook,
    SignalPolicy,
    service_fields,
    signal_policy,
    tenant_calendar,
)
from transforms.detect.baselines.book_loading import MAX_FIELDS, BookError, load_book
from transforms.detect.baselines.book_reading import WEEKDAYS
from transforms.detect.rule_model import MAX_FILE_BYTES
from transforms.globs import glob_covers, glob_matches, glob_problem

FULL = """
calendars:
  - tenant: acme-*
    zone: America/New_York
    days_off: [sunday, saturday]
    holidays: [2027-01-01, 2026-12-25]
    maintenance:
      - {from: 2026-11-22T02:00, to: 2026-11-22T04:00, services: [payment, "db-*"], note: "kernel update"}
      - {every: sunday, from: "02:00", to: "04:00"}
  - {days_off: []}
signals:
  - {signal: "latency_*", service: payment, detector: learned, settings: {threshold: 0.1}, direction: up, severity: medium}
  - {signal: "latency_*", detector: off}
  - {tenant: noisy, severity: low}
fields:
  - {name: queue_depth, path: jsonPayload.queue.depth, service: "worker-*", take: max}
  - {name: load, path: jsonPayload.load}
"""


def problems_of(text: str) -> list[str]:
    with pytest.raises(BookError) as caught:
        load_book(text)
    return caught.value.problems


@pytest.mark.parametrize("text", ["", "# nothing", "calendars:\nsignals: []\nfields: []\n"])
def test_everything_is_optional(text: str) -> None:
    """A file that says nothing is the defaults: one clock, UTC, and the product's detector."""
    book = load_book(text)
    assert (book.calendars, book.signals, book.fields) == ((), (), ())
    assert signal_policy(book, "acme", "shop", "lines") == SignalPolicy()
    assert tenant_calendar(book, "acme").slot(0) == 3 * 24  # 1970 began on a Thursday


def test_the_first_entry_that_matches_counts() -> None:
    """Signals, tenants and fields take the first entry whose globs match, and the defaults without one."""
    book = load_book(FULL)
    learned = SignalPolicy("learned", (("threshold", 0.1),), "up", "medium")
    assert signal_policy(book, "acme", "payment", "latency_p95_ms") == learned
    assert signal_policy(book, "acme", "shop", "latency_p95_ms").is_off
    assert signal_policy(book, "noisy", "shop", "lines") == SignalPolicy(severity="low")
    assert signal_policy(book, "acme", "shop", "lines") == SignalPolicy()
    assert tenant_calendar(book, "acme-1").holidays == {date(2026, 12, 25), date(2027, 1, 1)}
    assert tenant_calendar(book, "other").days_off == frozenset()
    assert [entry.name for entry in service_fields(book, "worker-1")] == ["queue_depth", "load"]
    assert [entry.name for entry in service_fields(book, "shop")] == ["load"]


def test_a_book_survives_every_way_between_machines() -> None:
    """Pickled or as MessagePack it is the same book, found under the same hash."""
    book = load_book(FULL)
    decoded = msgspec.msgpack.decode(msgspec.msgpack.encode(book), type=BaselineBook)
    pickled = pickle.loads(pickle.dumps(book))
    assert decoded == pickled == book
    assert hash(decoded) == hash(pickled) == hash(book)


def test_the_version_says_what_counts() -> None:
    """Comments, and the order of days, change no version; a value does."""
    version = load_book(FULL).version
    assert load_book(f"# mine\n{FULL.replace('[sunday, saturday]', '[saturday, sunday]')}").version == version
    assert load_book(FULL.replace("low", "high")).version != version


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("calendar: []", '1: unknown key "calendar"; did you mean "calendars"?'),
        ("x: 1", '1: unknown key "x"; there are calendars, signals and fields'),
        ("- 1", "1: must be a mapping with calendars, signals and fields"),
        ("signals: 3", "1: signals must be a list"),
        ("signals:\n  - 3", "2: a signal must be a mapping with signal, service, tenant,"),
        ("signals: [{signl: x}]", 'signal: unknown key "signl"; did you mean "signal"?'),
        ("calendars: [{tenant: ''}]", 'tenant must not be empty; "*" stands for all'),
        ("calendars: [{tenant: '[a'}]", 'tenant has a "[" that is not closed; [[] stands for the bracket itself'),
        ("signals: [{signal: '{a,b}'}]", "signal has {a,b}, which is no choice here; give each an entry of its own"),
        ('signals: [{service: "a\\eb"}]', "service must not hold control characters"),
        ("calendars: [{tenant: a, zone: Europe/Berln}]", 'calendar "a": zone "Europe/Berln" is no time zone; did you mean "Europe/Berlin"?'),
        ("calendars: [{zone: localtime}]", "is no time zone"),
        ("calendars: [{zone: ../../etc/passwd}]", "is no time zone"),
        ("calendars: [{zone: America}]", "is no time zone"),
        ("calendars: [{zone: +1}]", "zone must be text in quotes"),
        ("calendars: [{days_off: [sturday]}]", 'days_off must be one of monday, tuesday, wednesday, thursday, friday, saturday, sunday; did you mean "saturday"?'),
        ("calendars: [{days_off: [sunday, sunday]}]", "days_off has sunday twice; keep one"),
        ("calendars: [{days_off: sunday}]", "days_off must be a list of days such as [saturday, sunday]; [] for none"),
        ("calendars: [{holidays: [2026-02-29]}]", "holidays has 2026-02-29, which the calendar does not"),
        ("calendars: [{holidays: [1026-02-28]}]", "holidays has the year 1026; it must be from 2000 to 2200"),
        ("calendars: [{holidays: [25.12.2026]}]", "holidays must be dates such as 2026-12-25"),
        ("calendars: [{holidays: [2026-12-25, 2026-12-25]}]", "holidays has 2026-12-25 twice; keep one"),
        ("calendars: [{maintenance: [{from: 2026-11-22T04:00, to: 2026-11-22T02:00}]}]", "maintenance has a span that ends before it begins: 2026-11-22 04:00:00 to 2026-11-22 02:00:00"),
        ("calendars: [{maintenance: [{from: 2026-11-22T04:00Z, to: 2026-11-22T02:00}]}]", "maintenance must have local times such as 2026-11-22T02:00 without an offset"),
        ("calendars: [{maintenance: [{from: 2026-11-22T24:10, to: 2026-11-23T02:00}]}]", "maintenance has 2026-11-22T24:10, which clocks and calendars do not"),
        ("calendars: [{maintenance: [{from: 2026-11-22T04:00}]}]", "maintenance has a span without to"),
        ("calendars: [{maintenance: [{every: sundy, from: 02:00, to: 04:00}]}]", 'did you mean "sunday"?'),
        ("calendars: [{maintenance: [{every: [day, sunday], from: 02:00, to: 04:00}]}]", "say day, sunday or [saturday, sunday]"),
        ("calendars: [{maintenance: [{every: day, from: 2:00, to: 04:00}]}]", 'maintenance must have times of day such as "02:00" beside every'),
        ("calendars: [{maintenance: [{every: day, from: 02:00, to: 02:00}]}]", "maintenance has a span that lasts no time; 00:00 to 24:00 is the whole day"),
        ("calendars: [{maintenance: [{every: day, from: 02:00, til: 02:00}]}]", 'maintenance has the unknown key "til"'),
        ("calendars: [{maintenance: [{every: day, from: 02:00, to: 03:00, services: []}]}]", "maintenance must have 1 to 100 services"),
        ("calendars:\n  - maintenance:\n      - {every: day, from: 02:00, to: 03:00}\n      - {every: day, from: 02:00, to: 03:00}", "4: a calendar: maintenance has the same span twice; keep one"),
        ("calendars:\n  - {tenant: a}\n  - {tenant: a}", '3: calendar "a": is given twice, first at line 2; keep one'),
        ("signals:\n  - {signal: 'a*'}\n  - {signal: 'ab*', detector: off}", '3: signal "ab*": never counts, for the entry at line 2 matches all of it and stands first; put the wider one last'),
        ("signals: [{severity: hgh}]", 'severity must be one of low, medium, high, critical; did you mean "high"?'),
        ("signals: [{direction: upp}]", "direction must be one of up, down, both"),
        ("signals: [{detector: levle}]", 'detector "levle" is not known; did you mean "level"? it is one of level, learned, off, or module.Class in the package aiops_detectors'),
        ("signals: [{detector: os.system}]", "there is no module aiops_detectors.os; put os.py into a folder aiops_detectors"),
        ("signals: [{detector: ..os.system}]", "is not known"),
        ("signals: [{detector: off, settings: {a: 1}}]", 'settings has no effect with detector "off"; leave it out'),
        ("signals: [{detector: learned, settings: {treshold: 1}}]", 'setting treshold is not known to detector learned; did you mean "threshold"? it has threshold, quiet_hours,'),
        ("signals: [{detector: learned, settings: {calendar: 1}}]", "setting calendar is not known to detector learned"),
        ("signals: [{detector: learned, settings: {threshold: high}}]", "setting threshold must be a number"),
        ("signals: [{detector: learned, settings: {threshold: -1}}]", "setting threshold must be 0 or more"),
        ("signals: [{detector: learned, settings: {threshold: true}}]", "setting threshold must be a number"),
        ("signals: [{detector: learned, settings: {threshold: .inf}}]", "threshold"),
        ("signals: [{detector: learned, settings: {learning_count: 1.5}}]", "setting learning_count must be a whole number"),
        ("signals: [{detector: learned, settings: {threshold: [1]}}]", 'settings "threshold" must be a number, true, false or text'),
        ("signals: [{settings: 3}]", "settings must be a mapping of at most 50 names"),
        ("fields: [{path: jsonPayload.a}]", "a field: name is missing"),
        ("fields: [{name: a}]", 'field "a": path is missing'),
        ("fields: [{name: Depth, path: jsonPayload.a}]", "name must be of small letters, digits and _, and begin with a letter"),
        ("fields: [{name: a, path: labels.a}]", "path must be jsonPayload. and at most 10 names, such as jsonPayload.queue.depth"),
        ("fields: [{name: a, path: jsonPayload..a}]", "path must be jsonPayload."),
        ("fields: [{name: a, path: jsonPayload.a, take: min}]", "take must be one of mean, max, sum, p95"),
        ("fields:\n  - {name: a, path: jsonPayload.a}\n  - {name: a, path: jsonPayload.b}", '3: field "a": the name is taken by the field at line 2'),
        ("fields: [{name: error_rate, path: jsonPayload.a}]", "the product has a signal of this name; choose another"),
        ("fields: [" + ", ".join(f"{{name: a{i}, path: jsonPayload.a}}" for i in range(MAX_FIELDS + 1)) + "]", f"fields has {MAX_FIELDS + 1} entries; at most {MAX_FIELDS} are read"),
        ("calendars: &a []\nsignals: *a", "1: uses an anchor or alias"),
        ("calendars: " + "[" * 50 + "]" * 50, "is nested more than 12 levels deep"),
        ("a" * (MAX_FILE_BYTES + 1), "is larger than 512 KiB"),
        ("calendars: []\ncalendars: []", '2: "calendars" is given twice; keep one'),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line_and_mend(text: str, problem: str) -> None:
    """Each mistake is one line that names the file, the line, the cause and the mend."""
    found = problems_of(text)
    assert any(problem in said for said in found), found
    assert all(said.startswith("baselines.yaml:") and "\n" not in said for said in found)


def test_all_mistakes_are_told_at_once() -> None:
    """A file is not mended one run at a time."""
    found = problems_of("calendars: [{zone: Mars}]\nsignals: [{detector: x}]\nfields: [{name: a}]\nextra: 1")
    assert [said.split(":")[1] for said in found] == ["1", "2", "3", "4"]


@given(
    st.text(max_size=200)
    | st.builds(lambda text, at: FULL[:at] + text + FULL[at:], st.text(max_size=5), st.integers(0, len(FULL)))
)
def test_no_text_raises_anything_else(text: str) -> None:
    """A file is a book or a BookError, whatever stands in it."""
    with suppress(BookError):
        load_book(text)


names = st.text("ab-*?", max_size=5)


@given(names, names, st.text("ab-", max_size=5))
def test_what_a_glob_covers_it_matches(wide: str, narrow: str, name: str) -> None:
    """Where a glob is said to cover another, every name of the other is its own."""
    if glob_covers(wide, narrow) and glob_matches(narrow, name):
        assert glob_matches(wide, name)


@pytest.mark.parametrize("glob", ["[[]a", "[!]]", "[]]", "a[bc]d", "{id}", "GET /cart/{id}"])
def test_brackets_that_close_are_no_problem(glob: str) -> None:
    """A bracket in brackets, and the braces of endpoints, may stand in a glob."""
    assert glob_problem(glob) == ""


def test_days_are_counted_from_monday() -> None:
    """Days off have the numbers of datetime.weekday."""
    assert WEEKDAYS[date(2026, 11, 21).weekday()] == "saturday"
