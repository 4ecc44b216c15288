"""What decides how alerts live: how long is waited, what is quiet, how much is kept."""

from __future__ import annotations

from typing import Final, Literal, get_args

import msgspec

from transforms.elements import MICROSECONDS

GroupLabel = Literal["service", "type", "endpoint", "detector", "pattern"]
GROUP_LABELS: Final[tuple[GroupLabel, ...]] = get_args(GroupLabel)


class AlertSettings(msgspec.Struct, frozen=True):
    """Settings of ManageAlerts. Checked on construction; raises ValueError.

    Anomalies that agree in `group_by` are one alert. Words and defaults are Alertmanager's where it
    has them; `docs/alerts.md` says where the meaning differs.
    """

    group_by: tuple[GroupLabel, ...] = ("service",)
    group_wait_seconds: int = 30  # anomalies of a group that come in this time are one `opened`
    group_interval_seconds: int = 300  # at most one `updated` for new findings in this time
    resolve_after_seconds: int = 900  # without an anomaly: quiet
    reopen_within_seconds: int = 3600  # the same group again: the same alert again
    flapping_reopenings: int = 3  # so many within the hour ...
    flapping_within_seconds: int = 3600
    most_quiet_seconds: int = 7200  # ... double the quiet that resolving takes, up to this
    false_positive_holds_seconds: int = 86_400  # what people called false does not come back for so long
    keep_resolved_seconds: int = 7 * 86_400  # so long a resolved alert takes comments and verdicts
    most_fingerprints: int = 500  # open ones of a tenant; what comes beyond is one alert "storm"
    most_per_alert: int = 100  # fingerprints of one alert; the one that was seen longest ago makes way
    most_resolved: int = 1000
    most_silences: int = 500
    most_commands: int = 2000  # ids remembered, so that a copy has no effect
    most_incidents: int = 100

    def __post_init__(self) -> None:
        unknown = [label for label in self.group_by if label not in GROUP_LABELS]
        if unknown or not self.group_by:
            raise ValueError(f"group_by needs some of {', '.join(GROUP_LABELS)}; it has {unknown or 'none'}")
        for name in self.__struct_fields__[1:]:
            value = getattr(self, name)
            if (value < 1 and name != "group_wait_seconds") or value < 0:
                raise ValueError(f"{name} is {value}; use a whole number above 0")
        if self.most_quiet_seconds < self.resolve_after_seconds:
            raise ValueError(
                f"most_quiet_seconds is {self.most_quiet_seconds}; use resolve_after_seconds "
                f"({self.resolve_after_seconds}) or more"
            )
        if self.keep_resolved_seconds < self.reopen_within_seconds:
            raise ValueError("keep_resolved_seconds is less than reopen_within_seconds; use as much or more")

    @property
    def group_wait_us(self) -> int:
        return self.group_wait_seconds * MICROSECONDS

    @property
    def group_interval_us(self) -> int:
        return self.group_interval_seconds * MICROSECONDS

    @property
    def reopen_within_us(self) -> int:
        return self.reopen_within_seconds * MICROSECONDS

    def quiet_us(self, doublings: int) -> int:
        """Quiet that resolving takes for an alert that has flapped `doublings` times."""
        seconds = self.resolve_after_seconds << min(doublings, 20)
        return min(seconds, self.most_quiet_seconds) * MICROSECONDS
