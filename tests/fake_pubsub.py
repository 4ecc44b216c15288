"""A Pub/Sub server on this machine for what the emulator cannot be: detached, forbidden, silent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.iam.v1 import iam_policy_pb2
from google.protobuf import empty_pb2
from google.pubsub_v1 import types


@dataclass
class FakePubSub:
    """Subscriptions and topics by their full names; `errors` by method: a status to fail with."""

    address: str = ""
    subscriptions: dict[str, dict[str, Any]] = field(default_factory=dict)
    topics: set[str] = field(default_factory=set)
    readers: dict[str, list[str]] = field(default_factory=dict)
    permissions: set[str] = field(default_factory=set)
    messages: list[tuple[str, bytes, dict[str, str]]] = field(default_factory=list)
    later: list[tuple[str, bytes, dict[str, str]]] = field(default_factory=list)  # of the next pull
    made: list[Any] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    published: list[Any] = field(default_factory=list)
    errors: dict[str, tuple[grpc.StatusCode, str]] = field(default_factory=dict)
    released: threading.Event = field(default_factory=threading.Event)
    silent: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)

    def answer(self, method: str, request: Any, context: Any) -> Any:
        self.calls.append(method)
        if method in self.silent:
            self.released.wait(30)
        if method in self.errors:
            context.abort(*self.errors[method])
        return getattr(self, method)(request, context)

    def GetSubscription(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.subscription not in self.subscriptions:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such subscription")
        return types.Subscription(name=request.subscription, **self.subscriptions[request.subscription])

    def GetTopic(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.topic not in self.topics:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such topic")
        return types.Topic(name=request.topic)

    def ListTopicSubscriptions(self, request: Any, context: Any) -> Any:  # noqa: N802
        return types.ListTopicSubscriptionsResponse(subscriptions=self.readers.get(request.topic, []))

    def TestIamPermissions(self, request: Any, context: Any) -> Any:  # noqa: N802
        held = [name for name in request.permissions if name in self.permissions]
        return iam_policy_pb2.TestIamPermissionsResponse(permissions=held)

    def CreateSubscription(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.made.append(request)
        self.subscriptions[request.name] = {"topic": request.topic, "filter": request.filter}
        return request

    def DeleteSubscription(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.subscriptions.pop(request.subscription, None)
        return empty_pb2.Empty()

    def Publish(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.published += [(request.topic, message) for message in request.messages]
        return types.PublishResponse(message_ids=[str(n) for n, _ in enumerate(request.messages)])

    def Pull(self, request: Any, context: Any) -> Any:  # noqa: N802
        given, self.messages, self.later = self.messages, self.later, []
        received = [
            types.ReceivedMessage(
                ack_id=ack_id, message=types.PubsubMessage(data=data, attributes=attributes)
            )
            for ack_id, data, attributes in given
        ]
        return types.PullResponse(received_messages=received)

    def Acknowledge(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.acknowledged += request.ack_ids
        return empty_pb2.Empty()


_REQUESTS: dict[str, Any] = {
    "GetSubscription": types.GetSubscriptionRequest,
    "GetTopic": types.GetTopicRequest,
    "ListTopicSubscriptions": types.ListTopicSubscriptionsRequest,
    "TestIamPermissions": iam_policy_pb2.TestIamPermissionsRequest,
    "CreateSubscription": types.Subscription,
    "DeleteSubscription": types.DeleteSubscriptionRequest,
    "Publish": types.PublishRequest,
    "Pull": types.PullRequest,
    "Acknowledge": types.AcknowledgeRequest,
}


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, fake: FakePubSub) -> None:
        self._fake = fake

    def service(self, details: Any) -> Any:
        method = details.method.rpartition("/")[2]
        kind = _REQUESTS[method]
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: self._fake.answer(method, request, context),
            request_deserializer=getattr(kind, "deserialize", None) or kind.FromString,
            response_serializer=lambda answer: (
                type(answer).serialize(answer)
                if hasattr(type(answer), "serialize")
                else answer.SerializeToString()
            ),
        )


@contextmanager
def fake_pubsub() -> Iterator[FakePubSub]:
    fake = FakePubSub()
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((_Handler(fake),))
    fake.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield fake
    finally:
        fake.released.set()
        server.stop(None).wait()
