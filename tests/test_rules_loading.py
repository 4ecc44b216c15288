"""Reading rules files: what they may say, and what is said of mistakes."""
# ruff: noqa: E501 - tables read best with a case a line

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.detect.rule_loading import RulesError, builtin_rules, load_rules
from transforms.detect.rule_model import MAX_FILE_BYTES, effective_rule

RULE = "rules:\n  - name: mine\n    type: error_spike\n    description: {errors} errors\n    when: errors > 5\n".replace(
    "{errors} errors", '"{errors} errors"'
)


def problems_of(text: str) -> list[str]:
    with pytest.raises(RulesError) as caught:
        load_rules(text)
    return caught.value.problems


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("when: error_rat > 0.1", 'unknown field "error_rat" in when; did you mean "error_rate"?'),
        ("when: endpoint.errors > 1", 'unknown field "endpoint.errors" in when; it goes with per: endpoint'),
        ("when: error_rate > 1", "when: cannot use > on (double, int); write numbers beside a double with a point, as in 1.0, or use double(...)"),
        ("when: errors", "when: gives a int, but must give a yes or no"),
        ("when: errors >", "when: column 9: Syntax error: mismatched input '<EOF>'"),
        ("when: 5", "when must be text in quotes"),
        (f"when: {'(' * 200}true{')' * 200}", "when: is nested too deeply or not readable"),
        (f"when: {'x' * 2001}", "when is longer than 2000 characters"),
        ("severty: high", 'unknown key "severty"; did you mean "severity"?'),
        ("severity: hihg", 'severity must be one of low, medium, high, critical; did you mean "high"?'),
        ("severity: [high, medium]", "severity steps after high, which has no when, are never reached"),
        ("severity: [{level: high, when: linez > 1}, low]", 'unknown field "linez" in a severity step; did you mean "lines"?'),
        ("severity: [{level: high, wen: lines > 1}]", "severity steps have a level and a when, and nothing else"),
        ("over: 5", "over must be a duration such as 90s, 5m or 1h"),
        ("over: 2h", "over must be more than 0 and at most 1h, which is what the history holds"),
        ("for: five minutes", "for must be a duration such as 90s, 5m or 1h"),
        ("match: '(a'", "match is not a regular expression of RE2: missing ): (a"),
        ("match: 'a*'", "match also matches the empty text, and so every line; say more"),
        ("description: '{eror_rate}'", 'unknown field "eror_rate" in description; did you mean "error_rate"?'),
        ("description: '{errors:99999999d}'", 'format ":99999999d" in description does not suit errors (int); use :.0%, :.1f or :,'),
        ("description: '{errors'", "description has a { that is no placeholder such as {errors} or {error_rate:.0%}"),
        ("confidence: 2", "confidence must be a number from 0 to 1, or a condition that gives one"),
        ("confidence: errors > 5", "confidence: gives a bool, but must give a number"),
        ("enabled: 1", "enabled must be true or false"),
        ("min_count: 3", "min_count goes with match or per; say it in when"),
        ("min_severity: ERORR", "min_severity must be one of DEFAULT, DEBUG, INFO, NOTICE, WARNING, ERROR, CRITICAL, ALERT, EMERGENCY; did you mean \"ERROR\"?"),
        ("signal: text", 'unknown field "text" in signal'),
        ("recommended_actions: look", "recommended_actions must be a list of at most 10 texts"),
        ("overrides: [{when: errors > 1}]", "an override needs a tenant, a service or both"),
        ("overrides: [{tenant: a, when: eror > 1}]", 'unknown field "eror" in when; did you mean "errors"?'),
        ("overrides: [{tenant: a, per: pattern}]", "an override cannot change per"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line(line: str, problem: str) -> None:
    """Each mistake is told with file, line, rule, cause and, where one is near, the mend."""
    key = line.split(":", 1)[0]
    kept = [one for one in RULE.splitlines() if not one.strip().startswith(f"{key}:")]
    text = "\n".join([*kept, f"    {line}"])
    assert f'rules.yaml:{len(kept) + 1}: rule "mine": {problem}' in problems_of(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- a", 'rules.yaml:1: must be a mapping with "rules:", a list of rules'),
        ("rule: []", 'rules.yaml:1: unknown key "rule"; did you mean "rules"?'),
        ("extends: some\nrules: []", 'rules.yaml:1: extends must be "builtin" or "none"'),
        ("rules:\n  - a\n", 'rules.yaml:2: a rule must be a mapping with a "name"'),
        ("rules:\n  - name: [a]\n", "rules.yaml:2: name must be text"),
        ("rules:\n  - name: a b\n", "rules.yaml:2: name must be of letters, digits, - and _"),
        ("rules:\n  - name: new\n", 'rules.yaml:2: rule "new": type is missing'),
        ("rules:\n  - {name: a, name: b}\n", 'rules.yaml:2: "name" is given twice; keep one'),
        (
            RULE + RULE.removeprefix("rules:\n"),
            'rules.yaml:6: rule "mine": the name is taken by the rule at line 2',
        ),
        ("rules: [&a {name: x}, *a]", "rules.yaml:1: uses an anchor or alias (& or *); write the value out"),
        ("rules: " + "[" * 50, "rules.yaml:1: is nested more than 12 levels deep"),
        ("rules:\n  - name: 'open\n", "rules.yaml:3: is not YAML: found unexpected end of stream"),
        ("rules: [\x00]", "rules.yaml:1: is not YAML: it holds characters that YAML does not allow"),
        ("#" * (MAX_FILE_BYTES + 1), "rules.yaml:1: is larger than 512 KiB; split it"),
        ("rules: [" + "{name: a}," * 501 + "]", "rules.yaml:1: has 501 rules; at most 500 are read"),
    ],
)
def test_a_file_that_is_no_rules_file_is_told_why(text: str, problem: str) -> None:
    """Wrong shapes, bombs and broken YAML give one line each, never a traceback."""
    assert problem in problems_of(text)


@pytest.mark.parametrize("name", ["on", "no", "1:30", "2026-01-01"])
def test_text_without_quotes_stays_text(name: str) -> None:
    """What only YAML 1.1 takes for a truth, a time or a date is a name or a text here."""
    text = RULE.replace("mine", "mine\n    recommended_actions: [" + name + "]")
    rule = next(rule for rule in load_rules(text).rules if rule.name == "mine")
    assert rule.recommended_actions == (name,)


def test_a_mistake_at_the_end_of_a_file_is_on_its_last_line() -> None:
    """A bracket that is never closed is not told of a line that the file does not have."""
    assert problems_of("rules: [a")[0].startswith("rules.yaml:1: is not YAML: ")


def test_all_problems_are_told_at_once() -> None:
    """A file with three mistakes is told three, by line."""
    text = RULE.replace("type: error_spike", "type: error_spik").replace("errors > 5", "5") + "    over: x\n"
    assert [problem.split(":")[1] for problem in problems_of(text)] == ["3", "5", "6"]


@given(st.text(max_size=300))
def test_no_text_breaks_the_reader(text: str) -> None:
    """Any text is either a book or a list of problems."""
    with suppress(RulesError):
        load_rules(text)


@given(st.text(alphabet=st.sampled_from("rules: -\n{}[]'\"name&*!|>#,a1.%"), max_size=200))
def test_no_yaml_breaks_the_reader(text: str) -> None:
    """Any YAML-like text is either a book or a list of problems."""
    with suppress(RulesError):
        load_rules("rules:\n" + text)


def test_a_file_adds_to_the_builtin_rules() -> None:
    """Without `extends` the built-in rules stay, and the new rule is among them."""
    names = {rule.name for rule in load_rules(RULE).rules}
    assert names == {rule.name for rule in builtin_rules().rules} | {"mine"}


def test_a_file_can_leave_the_builtin_rules_out() -> None:
    """`extends: none` gives the file's rules alone."""
    assert [rule.name for rule in load_rules("extends: none\n" + RULE).rules] == ["mine"]


def test_a_rule_of_the_same_name_changes_only_what_it_gives() -> None:
    """A built-in rule can be switched off in two lines, and keeps everything else."""
    changed = {
        rule.name: rule for rule in load_rules("rules:\n  - {name: error-spike, enabled: false}").rules
    }
    builtin = {rule.name: rule for rule in builtin_rules().rules}
    assert not changed["error-spike"].enabled
    assert changed["error-spike"].when == builtin["error-spike"].when
    assert {name: rule for name, rule in changed.items() if name != "error-spike"} == {
        name: rule for name, rule in builtin.items() if name != "error-spike"
    }


def test_the_version_depends_on_the_rules_alone() -> None:
    """Comments and order change nothing; a threshold does."""
    base = load_rules("extends: none\n" + RULE)
    assert load_rules("# why\nextends: none\n\n" + RULE).version == base.version
    assert load_rules("extends: none\n" + RULE.replace("> 5", "> 6")).version != base.version
    assert load_rules("").version == builtin_rules().version


def test_an_override_can_set_any_other_field() -> None:
    """Durations, severities and conditions can differ for a service."""
    text = (
        RULE
        + "    overrides:\n      - {service: batch, when: errors > 500, for: 5m, severity: low, confidence: 0.6}\n"
    )
    rule = next(rule for rule in load_rules(text).rules if rule.name == "mine")
    changed = effective_rule(rule, "any", "batch")
    assert (changed.when, changed.for_seconds, changed.severity[0].level, changed.confidence) == (
        "errors > 500",
        300,
        "low",
        0.6,
    )
    assert effective_rule(rule, "any", "web").when == "errors > 5"


def test_distinct_users_cannot_be_asked_for_over_an_hour() -> None:
    """The history does not keep their registers for so long, and loading says so."""
    text = RULE.replace("errors > 5", "distinct_principals > 5") + "    over: 30m\n"
    assert problems_of(text) == [
        'rules.yaml:6: rule "mine": over can be at most 15m in a rule on distinct_principals'
    ]
