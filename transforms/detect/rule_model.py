"""What a rule is, as plain data: compared, hashed and sent between machines; nothing compiled."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from transforms.detect.fields import Subject
from transforms.elements import AnomalySeverity, AnomalyType

MAX_RULES: Final = 500
MAX_FILE_BYTES: Final = 512 * 1024
MAX_CONDITION_CHARACTERS: Final = 2_000
MAX_LOOKBACK_SECONDS: Final = 3_600
"""Longest `over`, `for` and `repeat`: the history holds 60 windows of a minute."""

MAX_DISTINCT_LOOKBACK_SECONDS: Final = 900
"""Longest `over` for conditions on distinct users or addresses: only recent windows keep the registers."""

DEFAULT_CONFIDENCE: Final = 0.8
DEFAULT_REPEAT_SECONDS: Final = 900

Per = Literal["", "pattern", "endpoint"]


class SeverityStep(msgspec.Struct, frozen=True):
    """One step of a severity ladder; the first whose `when` holds counts. Empty `when` always holds."""

    level: AnomalySeverity
    when: str = ""


class RuleChanges(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Any fields of a rule: what a file says of a rule, and what an override changes."""

    description: str | UnsetType = UNSET
    type: AnomalyType | UnsetType = UNSET
    severity: tuple[SeverityStep, ...] | UnsetType = UNSET
    when: str | UnsetType = UNSET
    match: str | UnsetType = UNSET
    per: Per | UnsetType = UNSET
    over_seconds: int | UnsetType = UNSET
    for_seconds: int | UnsetType = UNSET
    repeat_seconds: int | UnsetType = UNSET
    min_count: int | UnsetType = UNSET
    min_errors: int | UnsetType = UNSET
    min_severity: int | UnsetType = UNSET
    signal: str | UnsetType = UNSET
    confidence: float | str | UnsetType = UNSET
    recommended_actions: tuple[str, ...] | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class Override(msgspec.Struct, frozen=True):
    """Changes to a rule for one tenant, one service of any tenant, or one service of one tenant."""

    changes: RuleChanges
    tenant_id: str = ""
    service: str = ""

    @property
    def specificity(self) -> int:
        """A service says more than a tenant, both say most."""
        return bool(self.tenant_id) + 2 * bool(self.service)

    def applies_to(self, tenant_id: str, service: str) -> bool:
        return self.tenant_id in ("", tenant_id) and self.service in ("", service)


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule. Seconds of 0 mean one window; an empty `when` is true; `min_*` bind patterns only."""

    name: str
    type: AnomalyType
    description: str
    severity: tuple[SeverityStep, ...] = (SeverityStep("medium"),)
    when: str = ""
    match: str = ""
    per: Per = ""
    over_seconds: int = 0
    for_seconds: int = 0
    repeat_seconds: int = DEFAULT_REPEAT_SECONDS
    min_count: int = 1
    min_errors: int = 0
    min_severity: int = 0
    signal: str = ""
    confidence: float | str = DEFAULT_CONFIDENCE
    recommended_actions: tuple[str, ...] = ()
    enabled: bool = True
    overrides: tuple[Override, ...] = ()

    @property
    def subject(self) -> Subject:
        """What the conditions look at: one window, one pattern (or all that match), one endpoint."""
        if self.per == "endpoint":
            return "endpoint"
        return "pattern" if self.per == "pattern" or self.match else "window"


class RuleBook(msgspec.Struct, frozen=True):
    """The rules in force, sorted by name. `version` is a hash of them: equal rules, equal version.

    `loaded_at_us` says when the file was read, so that the newest of several books can be told.
    """

    rules: tuple[Rule, ...]
    version: str
    loaded_at_us: int = 0


def newest_book(books: Iterable[RuleBook]) -> RuleBook:
    """The book that was read last; raises ValueError if there is none."""
    return max(books, key=lambda book: (book.loaded_at_us, book.version))


def apply_changes(rule: Rule, changes: RuleChanges) -> Rule:
    """The rule with the fields that `changes` sets."""
    given = {name: value for name, value in msgspec.structs.asdict(changes).items() if value is not UNSET}
    return msgspec.structs.replace(rule, **given)


def effective_rule(rule: Rule, tenant_id: str, service: str) -> Rule:
    """The rule as it stands for one service: overrides from the least to the most specific.

    Of equally specific ones the later wins.
    """
    for override in sorted(rule.overrides, key=lambda override: override.specificity):
        if override.applies_to(tenant_id, service):
            rule = apply_changes(rule, override.changes)
    return rule
