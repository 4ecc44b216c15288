"""Topics and subscriptions of the job: are they there, as the job needs them, and may it use them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any, Final

from google.api_core.exceptions import NotFound
from google.cloud import pubsub_v1

from aiops.doctor.checks import (
    CALL_SECONDS,
    SERVER_ERRORS,
    TERRAFORM,
    Check,
    State,
    counted,
    is_refusal,
    refused,
    told,
)
from aiops.doctor.credentials import Identity

_LAYER: Final = "Pub/Sub"
_GONE: Final = "_deleted-topic_"
_LEAST_RETENTION_SECONDS: Final = 86_400
_CALL: Final[dict[str, Any]] = {"timeout": CALL_SECONDS, "retry": None}
_ROLES: Final = {
    "pubsub.subscriptions.consume": "roles/pubsub.subscriber",
    "pubsub.subscriptions.get": "roles/pubsub.viewer",
    "pubsub.topics.publish": "roles/pubsub.publisher",
}


class PubSubExam:
    """Both clients, and who asks: None where an emulator is asked, which has no permissions."""

    def __init__(self, identity: Identity | None) -> None:
        self._identity = identity
        self.publisher = pubsub_v1.PublisherClient()
        self.subscriber = pubsub_v1.SubscriberClient()

    def close(self) -> None:
        """Let go of the connections."""
        self.subscriber.close()
        self.publisher.transport.close()

    # ------------------------------------------------------------------------------ subscriptions

    def subscription(
        self, option: str, path: str, topic: str = "", *, is_backlog: bool = True
    ) -> Iterator[Check]:
        """Is it there, attached to a topic (to `topic`, where one is named), and may one read it.

        One with a backlog (`is_backlog`) has to lose nothing, too, while nobody reads it.
        """
        subject = f"{option} {_short(path)}"
        try:
            found = self.subscriber.get_subscription(request={"subscription": path}, **_CALL)
        except NotFound:
            mend = _command("pubsub subscriptions create", path, f"--topic={topic}" if topic else "")
            yield Check(_LAYER, subject, "failed", "does not exist", mend if topic else TERRAFORM)
            return
        except SERVER_ERRORS as error:
            yield refused(_LAYER, subject, error, _grant(path, "pubsub.subscriptions.get", self._identity))
            return
        problem = _why_it_gets_nothing(found, topic)
        if problem:
            recreate = f"{_command('pubsub subscriptions delete', path)} && {TERRAFORM}"
            yield Check(_LAYER, subject, "failed", problem, recreate)
            return
        yield Check(_LAYER, subject, "ok", f"reads {_short(found.topic)}, keeps {_kept(found)}")
        if is_backlog:
            yield from _losses(subject, path, found)
            yield from self._undelivered(subject, path, found.dead_letter_policy.dead_letter_topic)
        wanted = ("pubsub.subscriptions.consume", "pubsub.subscriptions.get")
        yield from self._permissions(self.subscriber, subject, path, wanted)

    def topic_of(self, subscription: str) -> str:
        """The topic that `subscription` is attached to, or "" where that cannot be seen."""
        try:
            found = self.subscriber.get_subscription(request={"subscription": subscription}, **_CALL)
        except SERVER_ERRORS:
            return ""
        return "" if found.topic == _GONE else str(found.topic)

    def _undelivered(self, subject: str, path: str, topic: str) -> Iterator[Check]:
        if not topic:
            found = "no dead-letter topic: a message that ends a worker comes again for ever"
            yield Check(_LAYER, subject, "warning", found, TERRAFORM)
            return
        for check in self.topic(f"dead-letter topic of {_short(path)}:", topic, publishes=False):
            if check.state == "failed":
                yield check

    # ------------------------------------------------------------------------------------ topics

    def topic(
        self, option: str, path: str, *, publishes: bool = True, is_read: bool = False
    ) -> Iterator[Check]:
        """Is it there, may one publish to it, and (`is_read`) does anybody read it."""
        subject = f"{option} {_short(path)}"
        try:
            self.publisher.get_topic(request={"topic": path}, **_CALL)
            readers = self._readers(path) if is_read else 1
        except NotFound:
            create = _command("pubsub topics create", path)
            yield Check(_LAYER, subject, "failed", "does not exist", create)
            return
        except SERVER_ERRORS as error:
            yield refused(_LAYER, subject, error, _grant(path, "pubsub.topics.get", self._identity))
            return
        if readers:
            yield Check(
                _LAYER, subject, "ok", f"exists, {counted(readers, 'subscription')}" if is_read else "exists"
            )
        else:
            mend = f"gcloud pubsub subscriptions create aiops-notify --topic={shlex.quote(path)}"
            yield Check(_LAYER, subject, "warning", "exists, but nobody reads it: no subscription", mend)
        if publishes:
            yield from self._permissions(self.publisher, subject, path, ("pubsub.topics.publish",))

    def _readers(self, path: str) -> int:
        found = self.publisher.list_topic_subscriptions(request={"topic": path, "page_size": 100}, **_CALL)
        return len(next(iter(found.pages)).subscriptions)

    # ------------------------------------------------------------------------------- permissions

    def _permissions(self, client: Any, subject: str, path: str, wanted: Sequence[str]) -> Iterator[Check]:
        if self._identity is None:
            return
        request = {"resource": path, "permissions": list(wanted)}
        try:
            held = set(client.test_iam_permissions(request=request, timeout=CALL_SECONDS).permissions)
        except SERVER_ERRORS as error:
            if not is_refusal(error):
                yield refused(_LAYER, subject, error, "")
            else:
                yield Check(_LAYER, subject, "warning", f"permissions cannot be seen: {told(error)}")
            return
        for permission in wanted:
            if permission not in held:
                found = f"{self._identity.name} may not {permission.rpartition('.')[2]} ({permission})"
                mend = _grant(path, permission, self._identity)
                yield Check(_LAYER, subject, _lacking(self._identity), found, mend)


def _lacking(identity: Identity) -> State:
    """A person need not have what the job's account needs."""
    return "failed" if identity.is_service_account else "warning"


def _why_it_gets_nothing(found: Any, topic: str) -> str:
    if found.detached:
        return "is detached from its topic: nothing comes any more"
    if found.topic == _GONE:
        return "its topic was deleted: nothing comes any more"
    if topic and found.topic != topic:
        return f"reads {_short(found.topic)}, not {_short(topic)}"
    if found.push_config.push_endpoint or found.bigquery_config.table or found.cloud_storage_config.bucket:
        return "hands its messages on elsewhere; the job has to pull them"
    return ""


def _losses(subject: str, path: str, found: Any) -> Iterator[Check]:
    update = "pubsub subscriptions update"
    if found.message_retention_duration.total_seconds() < _LEAST_RETENTION_SECONDS:
        lost = f"keeps messages for {_kept(found)}: a job that is down for longer loses them"
        yield Check(
            _LAYER, subject, "warning", lost, _command(update, path, "--message-retention-duration=7d")
        )
    if not found.retain_acked_messages:
        lost = "does not keep what was read: a seek cannot replay it"
        yield Check(_LAYER, subject, "warning", lost, _command(update, path, "--retain-acked-messages"))
    if found.expiration_policy.ttl:
        lost = f"is deleted after {found.expiration_policy.ttl.days} days without a reader"
        yield Check(_LAYER, subject, "warning", lost, _command(update, path, "--expiration-period=never"))
    if found.filter:
        lost = f"has a filter: what it leaves out is not even counted: {found.filter[:80]}"
        yield Check(_LAYER, subject, "warning", lost, "# a filter stays for life: make another subscription")


def _kept(found: Any) -> str:
    hours = found.message_retention_duration.total_seconds() / 3600
    return f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.1f} hours"


def _short(path: str) -> str:
    return path.rpartition("/")[2]


def _command(verb: str, path: str, *flags: str) -> str:
    project = path.split("/")[1]
    return " ".join(["gcloud", verb, shlex.quote(_short(path)), f"--project={project}", *filter(None, flags)])


def _grant(path: str, permission: str, identity: Identity | None) -> str:
    kind = path.split("/")[2]
    member = "user:YOU" if identity is None else identity.email or "user:YOU"
    if ":" not in member:
        member = f"{'serviceAccount' if identity and identity.is_service_account else 'user'}:{member}"
    role = _ROLES.get(permission, "roles/pubsub.viewer")
    return _command(f"pubsub {kind} add-iam-policy-binding", path, f"--member={member}", f"--role={role}")
