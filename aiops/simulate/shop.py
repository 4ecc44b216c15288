"""The shop: its services, what they run on, and which calls which."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final, Literal

from aiops.simulate.messages import ServiceMessages
from aiops.simulate.vocabulary import MESSAGES

Platform = Literal["cloud_run", "gke", "app_engine", "cloud_function", "cloud_sql", "load_balancer"]

EDGE: Final = "edge"
DATABASE: Final = "shop-db"


@dataclass(frozen=True)
class Call:
    """One call that an operation makes. An optional one may fail without failing its caller."""

    service: str
    operation: str
    chance: float = 1.0
    optional: bool = False
    retried: bool = False
    timeout_ms: int = 4000


@dataclass(frozen=True)
class Operation:
    """What one endpoint does: `work_ms` of its own, then its calls one after the other."""

    name: str
    method: str
    path: str
    work_ms: float
    calls: tuple[Call, ...] = ()
    refused: float = 0.0  # share answered with `refused_status`: a wrong password, an unknown product
    refused_status: int = 404


@dataclass(frozen=True)
class Service:
    name: str
    platform: Platform
    operations: tuple[Operation, ...]
    hours: tuple[float, float] = (0, 24)  # local hours in which callers use it
    messages: ServiceMessages = field(default_factory=ServiceMessages)
    instances: int = 2


@dataclass(frozen=True)
class Route:
    """Something a user does. `weight` is its share of all user requests."""

    service: str
    operation: str
    weight: float


_EDGE_CALLS: Final = ("home", "product", "search", "cart", "add", "checkout", "login")
_PATHS: Final = {
    "home": ("GET", "/"),
    "product": ("GET", "/product/{sku}"),
    "search": ("GET", "/search?q={topic}&page={count}"),
    "cart": ("GET", "/cart"),
    "add": ("POST", "/cart/items"),
    "checkout": ("POST", "/checkout"),
    "login": ("POST", "/login"),
}
_FRONTEND_CALLS: Final[dict[str, tuple[Call, ...]]] = {
    "home": (
        Call("catalog", "list", retried=True),
        Call("recommendation", "suggest", chance=0.7, optional=True, timeout_ms=3000),
    ),
    "product": (
        Call("catalog", "get", retried=True),
        Call("inventory", "availability", optional=True, timeout_ms=3000),
        Call("recommendation", "suggest", chance=0.3, optional=True, timeout_ms=3000),
    ),
    "search": (Call("catalog", "search", retried=True),),
    "cart": (Call("cart", "read", retried=True), Call("shipping", "quote", chance=0.6, optional=True)),
    "add": (Call("cart", "add"),),
    "checkout": (Call("auth", "verify", retried=True), Call("checkout", "place", timeout_ms=10_000)),
    "login": (Call("auth", "login"),),
}


def _edge() -> Service:
    operations = tuple(
        Operation(name, *_PATHS[name], 2, (Call("frontend", name, timeout_ms=30_000),))
        for name in _EDGE_CALLS
    )
    return Service(EDGE, "load_balancer", operations, messages=MESSAGES[EDGE], instances=1)


def _frontend() -> Service:
    refused = {"product": 0.008}
    operations = tuple(
        Operation(name, *_PATHS[name], 18, _FRONTEND_CALLS[name], refused.get(name, 0.0))
        for name in _EDGE_CALLS
    )
    return Service("frontend", "cloud_run", operations, messages=MESSAGES["frontend"], instances=3)


_BEHIND: Final = (
    Service(
        "catalog",
        "gke",
        (
            Operation("list", "GET", "/v1/products", 14),
            Operation("get", "GET", "/v1/products/{sku}", 7),
            Operation("search", "GET", "/v1/search?q={topic}", 35),
        ),
        instances=3,
    ),
    Service(
        "cart",
        "gke",
        (
            Operation("read", "GET", "/v1/carts/{uuid}", 5),
            Operation("add", "POST", "/v1/carts/{uuid}/items", 9),
            Operation("empty", "DELETE", "/v1/carts/{uuid}", 4),
        ),
    ),
    Service(
        "checkout",
        "gke",
        (
            Operation(
                "place",
                "POST",
                "/v1/orders",
                24,
                (
                    Call("cart", "read", retried=True),
                    Call("inventory", "reserve"),
                    Call("payment", "charge"),
                    Call("shipping", "book", optional=True),
                    Call("email", "confirm", optional=True),
                ),
            ),
        ),
    ),
    Service(
        "payment",
        "cloud_run",
        (Operation("charge", "POST", "/v1/charges", 80, refused=0.012, refused_status=402),),
    ),
    Service(
        "auth",
        "cloud_run",
        (
            Operation("login", "POST", "/v1/sessions", 60, refused=0.03, refused_status=401),
            Operation("verify", "GET", "/v1/sessions/current", 6),
        ),
    ),
    Service(
        "inventory",
        "gke",
        (
            Operation("availability", "GET", "/v1/stock/{sku}", 6, (Call(DATABASE, "query"),)),
            Operation("reserve", "POST", "/v1/reservations", 12, (Call(DATABASE, "query"),)),
        ),
    ),
    Service("recommendation", "gke", (Operation("suggest", "GET", "/v1/suggestions?user={user}", 45),)),
    Service(
        "shipping",
        "app_engine",
        (Operation("quote", "GET", "/quotes?city={city}", 30), Operation("book", "POST", "/shipments", 55)),
        hours=(6, 23),
    ),
    Service("email", "cloud_function", (Operation("confirm", "POST", "/", 90),), hours=(5, 24)),
)
_DATABASE: Final = Service(DATABASE, "cloud_sql", (Operation("query", "SQL", "", 4),), instances=1)

_BY_IMPORTANCE: Final = (
    _frontend(),
    *(replace(service, messages=MESSAGES[service.name]) for service in _BEHIND),
    _edge(),
    replace(_DATABASE, messages=MESSAGES[DATABASE]),
)
SERVICES: Final = tuple(service.name for service in _BY_IMPORTANCE)
"""Names of one shop's services, in the order in which --services takes them."""

_WEIGHTS: Final = {
    "home": 0.24,
    "product": 0.34,
    "search": 0.12,
    "cart": 0.08,
    "add": 0.08,
    "checkout": 0.09,
    "login": 0.05,
}


def build_shop(count: int) -> tuple[dict[str, Service], list[Route]]:
    """`count` services by name, and what users do.

    Twelve make one shop. Beyond that come further shops of the same tenant, named `cart-2`,
    which share the traffic; a service that is left out is simply not called.
    """
    services: dict[str, Service] = {}
    for number in range(count):
        shop, place = divmod(number, len(_BY_IMPORTANCE))
        service = _renamed(_BY_IMPORTANCE[place], shop)
        services[service.name] = service
    shops = -(-count // len(_BY_IMPORTANCE))
    routes = []
    for shop in range(shops):
        entry = next(
            name for name in (_suffixed(EDGE, shop), _suffixed("frontend", shop)) if name in services
        )
        routes += [Route(entry, name, weight / shops) for name, weight in _WEIGHTS.items()]
    return services, routes


def _suffixed(name: str, shop: int) -> str:
    return f"{name}-{shop + 1}" if shop else name


def _renamed(service: Service, shop: int) -> Service:
    if not shop:
        return service
    operations = tuple(
        replace(
            operation,
            calls=tuple(replace(call, service=_suffixed(call.service, shop)) for call in operation.calls),
        )
        for operation in service.operations
    )
    return replace(service, name=_suffixed(service.name, shop), operations=operations)


def upstream(services: dict[str, Service], name: str, *, optional: bool = False) -> dict[str, int]:
    """The services that feel it when `name` fails, with their distance from it in calls.

    A failed optional call carries nothing upward: its caller goes on without it. A slow one does, for
    the caller waits: `optional` takes these calls in.
    """
    distances = {name: 0}
    frontier = [name]
    while frontier:
        called = frontier.pop(0)
        for service in services.values():
            calls = {
                call.service
                for operation in service.operations
                for call in operation.calls
                if optional or not call.optional
            }
            if called in calls and service.name not in distances:
                distances[service.name] = distances[called] + 1
                frontier.append(service.name)
    return distances


def bypassed(services: dict[str, Service], name: str) -> set[str]:
    """The services that get fewer calls when all operations of `name` fail before they call anyone.

    Those that a failed operation would have called afterward, and whom these call.
    """
    called = {
        (service.name, operation.name): operation.calls
        for service in services.values()
        for operation in service.operations
    }
    failed = {place for place in called if place[0] == name}
    cut = [call for place in failed for call in called[place]]
    changed = True
    while changed:
        changed = False
        for place in called.keys() - failed:
            for number, call in enumerate(called[place]):
                if not call.optional and (call.service, call.operation) in failed:
                    failed.add(place)
                    cut += called[place][number + 1 :]
                    changed = True
                    break
    missed: set[tuple[str, str]] = set()
    while cut:
        call = cut.pop()
        place = call.service, call.operation
        if place in called and place not in missed:
            missed.add(place)
            cut += called[place]
    return {service for service, _ in missed}
