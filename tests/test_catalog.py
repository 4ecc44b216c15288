"""The service catalog: what a file may say, what is said of mistakes, and what tiers do to severities."""

from __future__ import annotations

import pickle
import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from aiops.catalog import app
from pipeline.catalog_source import CatalogError, catalog_dependencies, load_catalog, read_catalog
from pipeline.operator_files import FileUnreadableError
from transforms.alert.catalog import (
    EMPTY_CATALOG,
    NEVER_LOWERED,
    TIERS,
    UNKNOWN_SERVICE,
    CatalogEntry,
    ServiceObjective,
    weigh,
)
from transforms.correlate.settings import ConfiguredDependency
from transforms.elements import ANOMALY_SEVERITIES

DOCS = Path(__file__).parent.parent / "docs" / "catalog.md"


def documented() -> str:
    found = re.search(r"```yaml\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def problems_of(text: str) -> list[str]:
    with pytest.raises(CatalogError) as caught:
        load_catalog(text)
    return caught.value.problems


def test_the_first_entry_that_matches_counts() -> None:
    """Tenant and service choose the entry, all of it; a service that none matches is unknown."""
    catalog = load_catalog(documented())
    assert catalog.entry("acme-shop", "payment") == CatalogEntry(
        "payment",
        "acme-shop",
        "team-payments",
        "tier-1",
        "#payments",
        "https://runbooks.example.com/payment",
        ServiceObjective(99.9, 300, 30),
        ("fraud", "payment-db"),
    )
    assert catalog.entry("other", "payment").owner == "platform"
    assert catalog.entry("other", "batch-7").tier == "tier-4"
    assert EMPTY_CATALOG.entry("other", "payment") is UNKNOWN_SERVICE
    narrow = load_catalog("services: [{service: a, tenant: t, owner: x}]")
    assert narrow.entry("t", "b") == narrow.entry("u", "a") == UNKNOWN_SERVICE


def test_calls_are_dependencies_of_the_topology() -> None:
    """Of one tenant or of all, as the entry says; the job hands them to correlation."""
    catalog = load_catalog(
        f"{documented()}  - {{service: cart, calls: [stock]}}".replace('"*", owner', '"z*", owner')
    )
    assert catalog_dependencies(catalog) == (
        ConfiguredDependency("acme-shop", "payment", "fraud"),
        ConfiguredDependency("acme-shop", "payment", "payment-db"),
        ConfiguredDependency("", "cart", "stock"),
    )
    assert catalog_dependencies(EMPTY_CATALOG) == ()


def test_equal_files_are_equal_catalogs() -> None:
    """Comments change nothing, content changes the version; a catalog can be sent to a worker."""
    catalog = load_catalog(documented())
    assert load_catalog(f"# as it was\n{documented()}") == catalog
    assert pickle.loads(pickle.dumps(catalog)) == catalog
    assert load_catalog(documented().replace("platform", "nobody")).version != catalog.version
    assert load_catalog("# nothing") == load_catalog("services: []") == EMPTY_CATALOG


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("services:\n- owner: x", "catalog.yaml:2: a service: service is missing"),
        ("services:\n- {service: a, onwer: x}", 'unknown key "onwer"; did you mean "owner"?'),
        ("service: []", 'unknown key "service"; did you mean "services"?'),
        ("things: []", 'unknown key "things"; there is services'),
        ("services: {}", "services must be a list"),
        ("services: [1]", "a service must be a mapping with service, tenant"),
        ("services:\n- service: ''", '2: service "": service must not be empty'),
        ("services:\n- service: a\n  owner: 7", '3: service "a": owner must be text in quotes'),
        ('services:\n- service: a\n  owner: "x\\ny"', "owner must be one line of text"),
        ("services:\n- service: a\n  tier: 5", "tier must be 1, 2, 3 or 4"),
        ("services:\n- service: a\n  tier: true", "tier must be 1, 2, 3 or 4"),
        ("services:\n- service: a\n  runbook: javascript:alert(1)", "runbook must begin with https://"),
        ("services:\n- service: a\n  runbook: //example.com/x", "runbook must begin with https://"),
        ("services:\n- service: a\n  runbook: 'https://'", "runbook must begin with https://"),
        ("services:\n- service: a\n  runbook: https://ann:pw@example.com", "runbook must not hold a login"),
        ("services:\n- service: a\n  runbook: 'https://a.example/\"><b>'", "without blanks, quotes"),
        ("services:\n- service: a\n  runbook: 'https://a.example:port/'", "must be an address such as"),
        ("services:\n- service: a\n  slo: {}", "slo must be such as {availability: 99.9"),
        ("services:\n- service: a\n  slo: {availability: 100}", "not between 0 and 100"),
        ("services:\n- service: a\n  slo: {availability: .nan}", "no number such as 99.9"),
        ("services:\n- service: a\n  slo: {latency_ms: 0}", "no whole number from 1"),
        ("services:\n- service: a\n  slo: {window: 30d}", "must have availability or latency_ms"),
        ("services:\n- service: a\n  slo: {availability: 99, window: 4w}", "a window that is not of days"),
        ("services:\n- service: a\n  slo: {avail: 99}", 'unknown key "avail"'),
        ("services:\n- service: a\n  calls: [b, b]", 'calls has "b" twice'),
        ("services:\n- service: a\n  calls: [a]", "calls names the service itself"),
        ("services:\n- service: 'a*'\n  calls: [b]", "calls needs one service by its name"),
        ("services:\n- service: a\n  tenant: 'b*'\n  calls: [b]", "calls needs one tenant by its name"),
        ("services:\n- service: a\n- service: a", "is given twice, first at line 2; keep one"),
        ("services:\n- service: '*'\n- service: a", "never counts, for the entry at line 2"),
        ("services: &x []", "uses an anchor or alias"),
    ],
)
def test_mistakes_are_told_with_line_and_mend(text: str, said: str) -> None:
    """Each mistake is one sentence that names the line, the service and the mend."""
    problems = problems_of(text)
    assert any(said in problem for problem in problems), problems
    assert all(re.match(r"catalog\.yaml:\d+: ", problem) for problem in problems)


def test_all_mistakes_are_told_at_once() -> None:
    """A file with three mistakes is mended in one go."""
    text = "services:\n- {service: a, tier: 9}\n- {service: b, runbook: x}\n- {service: c, colour: red}"
    assert [problem.split(":")[1] for problem in problems_of(text)] == ["2", "3", "4"]


@given(st.text(max_size=300))
def test_any_text_is_a_catalog_or_a_list_of_problems(text: str) -> None:
    """No file makes the reader fail in another way."""
    with suppress(CatalogError):
        load_catalog(text)


@pytest.mark.parametrize(
    ("tier", "weighed"),
    [
        ("", ("low", "medium", "high", "critical")),
        ("tier-1", ("low", "high", "critical", "critical")),
        ("tier-2", ("low", "medium", "high", "critical")),
        ("tier-3", ("low", "low", "medium", "high")),
        ("tier-4", ("low", "low", "low", "medium")),
    ],
)
def test_tiers_weigh_severities(tier: str, weighed: tuple[str, ...]) -> None:
    """The table of the docs; low is low everywhere, and no security incident is lowered."""
    entry = CatalogEntry(tier=tier)  # type: ignore[arg-type]
    assert tuple(weigh(severity, entry, "error_spike") for severity in ANOMALY_SEVERITIES) == weighed
    for severity in ANOMALY_SEVERITIES:
        as_found = ANOMALY_SEVERITIES.index(severity)
        assert ANOMALY_SEVERITIES.index(weigh(severity, entry, NEVER_LOWERED)) >= as_found
    number = tier.removeprefix("tier-")
    row = re.search(rf"^\| {number or '2, or none'}\b.*$", DOCS.read_text("utf-8"), re.MULTILINE)
    if tier in TIERS[:1] + TIERS[2:]:
        assert row is not None
        assert tuple(cell.strip(" *") for cell in row[0].split("|")[3:7]) == weighed


def test_check_explains_the_file_of_the_docs(tmp_path: Path) -> None:
    """`aiops catalog check` says in words whom each entry is for and what holds."""
    path = tmp_path / "catalog.yaml"
    path.write_text(documented())
    result = CliRunner().invoke(app, ["check", str(path)], env={"COLUMNS": "120"})
    assert result.exit_code == 0
    for said in (
        "payment",
        "of tenant acme-shop",
        "owner: team-payments",
        "tier: tier-1: severity one step up, low stays low",
        "SLO: 99.9 % of requests do well, within 300 ms, over 30 days",
        "calls: fraud, payment-db",
        "every service",
        load_catalog(documented()).version,
    ):
        assert said in result.output, said


def test_check_says_what_is_wrong(tmp_path: Path) -> None:
    """Problems go to standard error, and the command fails; so it does where there is no file."""
    path = tmp_path / "catalog.yaml"
    path.write_text("services:\n- {service: a, tier: 9}\n")
    result = CliRunner().invoke(app, ["check", str(path), str(tmp_path / "none.yaml")])
    assert result.exit_code == 1
    assert f'{path}:2: service "a": tier must be 1, 2, 3 or 4' in result.stderr
    assert "leave --catalog out for no catalog" in result.stderr
    with pytest.raises(FileUnreadableError):
        read_catalog(str(tmp_path / "none.yaml"))
    assert read_catalog("") is EMPTY_CATALOG
