"""How long the oldest message waits to be read, as Cloud Monitoring knows it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from google.auth.transport.requests import AuthorizedSession

from aiops.doctor.checks import CALL_SECONDS, SERVER_ERRORS, Check, told
from aiops.doctor.freshness import OLDEST, SLOW, age_text

ENDPOINT: Final = "https://monitoring.googleapis.com"
_METRIC: Final = "pubsub.googleapis.com/subscription/oldest_unacked_message_age"
_LOOK_BACK: Final = timedelta(minutes=10)
"""Points come a few minutes after what they say."""


def check_backlog(credentials: Any, subscription: str, now: datetime, endpoint: str = ENDPOINT) -> Check:
    """Age of the oldest unread message of `subscription`; skipped where Cloud Monitoring does not say.

    Source: https://cloud.google.com/monitoring/api/metrics_gcp_p_z, pubsub/subscription.
    """
    _, project, _, name = subscription.split("/")
    subject = f"oldest message of {name}"
    query = {
        "filter": f'metric.type="{_METRIC}" AND resource.labels.subscription_id="{name}"',
        "interval.startTime": (now - _LOOK_BACK).isoformat(),
        "interval.endTime": now.isoformat(),
    }
    try:
        with AuthorizedSession(credentials, max_refresh_attempts=1) as session:  # type: ignore[no-untyped-call]
            address = f"{endpoint}/v3/projects/{project}/timeSeries"
            answer = session.get(address, params=query, timeout=CALL_SECONDS)
            answer.raise_for_status()
            found = answer.json()
        seconds = _newest_value(found)
    except (*SERVER_ERRORS, ValueError, KeyError, TypeError, AttributeError) as error:
        return Check("freshness", subject, "skipped", f"Cloud Monitoring does not say ({told(error)})")
    if seconds is None:
        return Check("freshness", subject, "skipped", "Cloud Monitoring has no figure of the last 10 minutes")
    waits = age_text(timedelta(seconds=seconds))
    if seconds > OLDEST.total_seconds():
        late = f"waits for {waits}: the job is down, or too slow"
        return Check("freshness", subject, "failed", late, SLOW, float(seconds))
    return Check("freshness", subject, "ok", f"waits for {waits}", seconds=float(seconds))


def _newest_value(answer: Any) -> int | None:
    """The highest of the newest points; None where there is none."""
    newest = [series["points"][0]["value"] for series in answer.get("timeSeries", []) if series.get("points")]
    return max((int(value["int64Value"]) for value in newest), default=None)
