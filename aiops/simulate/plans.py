"""From the text of --faults to the faults of a run.

    default            a few different faults in each tenant, spread over the run
    none               no fault
    random:N           N faults of random type, place, time and strength
    random:N:TYPES     the same of these types, joined with +, like random:12:silence+slow_drift
    FAULT[,FAULT...]   where FAULT is TYPE@[TENANT:]SERVICE+OFFSET/DURATION[xINTENSITY]

`errors@payment+10m/5m` fails payment of the first tenant from minute 10 to 15. TENANT is a
tenant's name or `all`. OFFSET and DURATION are numbers with s, m, h or d; INTENSITY is 0 to 1
of the worst that the type does, 1 if left out. privilege_change happens at `project`.
"""

from __future__ import annotations

import re
from random import Random
from typing import Final, cast, get_args

from aiops.simulate.config import SimulationConfig
from aiops.simulate.faults import KINDS, PROJECT, Fault, FaultType, can_have, make_fault
from aiops.simulate.rhythm import Tenant, make_tenants
from aiops.simulate.shop import Service, build_shop
from aiops.simulate.values import pick

TYPES: Final[tuple[FaultType, ...]] = get_args(FaultType)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_FAULT: Final = re.compile(
    r"(?P<type>\w+)@(?:(?P<tenant>[\w-]+):)?(?P<service>[\w-]+)"
    r"\+(?P<offset>[^/]+)/(?P<duration>[^x]+)(?:x(?P<intensity>.+))?"
)

_DEFAULT_PLAN: Final[tuple[tuple[tuple[FaultType, str, float, float], ...], ...]] = (
    (
        ("errors", "payment", 5, 4),
        ("latency", "catalog", 12, 4),
        ("brute_force", "auth", 19, 3),
        ("silence", "recommendation", 25, 4),
    ),
    (
        ("bad_deploy", "cart", 6, 5),
        ("resource_exhaustion", "inventory", 15, 4),
        ("certificate_expiry", "payment", 23, 3),
        ("slow_drift", "recommendation", 10, 18),
    ),
    (
        ("cascading_failure", "shop-db", 7, 6),
        ("privilege_change", PROJECT, 16, 2),
        ("errors", "shipping", 20, 4),
        ("new_pattern", "checkout", 26, 3),
    ),
)
"""By tenant: type, service, start and length in minutes of half an hour."""


def parse_duration(text: str) -> int:
    """Seconds of a text like `90s`, `10m`, `1.5h` or `3d`. Raises ValueError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a duration: give a number with s, m, h or d, like 90s or 10m")
    return round(float(found[1]) * _UNITS[found[2]])


def plan_faults(config: SimulationConfig) -> list[Fault]:
    """The faults of a run, by start. Raises ValueError that says what is wrong in `config.faults`."""
    tenants = make_tenants(config.tenants, config.first_tenant)
    shop, _ = build_shop(config.services)
    text = config.faults.strip()
    if text in {"none", ""}:
        faults = []
    elif text == "default":
        faults = _default(config, tenants, shop)
    elif text.startswith("random:"):
        faults = _random(config, tenants, shop, text.removeprefix("random:"))
    else:
        faults = [fault for part in text.split(",") for fault in _listed(config, tenants, shop, part.strip())]
    return sorted(faults, key=lambda fault: (fault.start_us, fault.fault_id))


def _default(config: SimulationConfig, tenants: list[Tenant], shop: dict[str, Service]) -> list[Fault]:
    """Half an hour's plan; a longer run spreads the same faults, a shorter one shrinks them."""
    stretch = config.duration_seconds / 1800
    faults = []
    for number, tenant in enumerate(tenants):
        for fault_type, service, start, minutes in _DEFAULT_PLAN[number % len(_DEFAULT_PLAN)]:
            if service not in shop and service != PROJECT:
                continue
            begin = config.start_second + round(start * 60 * stretch)
            length = max(1, round(minutes * 60 * min(1.0, stretch)))
            faults.append(
                make_fault(fault_type, (tenant.tenant_id, service), (begin, begin + length), 1.0, shop)
            )
    return faults


def _random(
    config: SimulationConfig, tenants: list[Tenant], shop: dict[str, Service], text: str
) -> list[Fault]:
    """Faults of one tenant never overlap, and none starts in the first tenth of the run."""
    count, colon, named = text.partition(":")
    if not count.isdecimal() or int(count) > 10_000:
        raise ValueError("random: wants a number of faults, up to 10000, like random:5")
    types = _types_named(named, shop) if colon else TYPES
    random = Random(f"faults {config.seed}")  # noqa: S311
    turns = [tenants[number % len(tenants)] for number in range(int(count))]
    faults = []
    for number, tenant in enumerate(turns):
        total = turns.count(tenant)
        slot = config.duration_seconds * 0.9 / total
        begin = config.start_second + config.duration_seconds * 0.1 + slot * (number // len(tenants))
        length = min(slot * 0.6, 240 + random.random() * 360)
        begin += random.random() * (slot * 0.9 - length)
        fault_type = pick(random, types)
        places = _places(fault_type, shop)
        if not places:
            fault_type, places = "errors", _places("errors", shop)
        place = pick(random, places)
        intensity = round(0.6 + 0.4 * random.random(), 2)
        end = round(begin) + max(1, round(length))
        faults.append(make_fault(fault_type, (tenant.tenant_id, place), (round(begin), end), intensity, shop))
    return faults


def _types_named(text: str, shop: dict[str, Service]) -> tuple[FaultType, ...]:
    names = text.split("+")
    possible = [name for name in TYPES if _places(name, shop)]
    for name in names:
        if name not in possible:
            raise ValueError(
                f"random: no fault of type {name!r} can happen in this shop; give {', '.join(possible)}"
            )
    return tuple(cast("FaultType", name) for name in names)


def _places(fault_type: FaultType, shop: dict[str, Service]) -> list[str]:
    if fault_type == "privilege_change":
        return [PROJECT]
    return [service.name for service in shop.values() if can_have(KINDS[fault_type], service)]


def _listed(
    config: SimulationConfig, tenants: list[Tenant], shop: dict[str, Service], text: str
) -> list[Fault]:
    found = _FAULT.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text!r} is not a fault: give TYPE@[TENANT:]SERVICE+OFFSET/DURATION[xINTENSITY], "
            "like errors@payment+10m/5m, or default, none or random:N"
        )
    fault_type = found["type"]
    if fault_type not in TYPES:
        raise ValueError(f"{text!r}: there is no fault type {fault_type!r}; give one of {', '.join(TYPES)}")
    known = cast("FaultType", fault_type)
    places = _places(known, shop)
    if found["service"] not in places:
        raise ValueError(
            f"{text!r}: {known} cannot happen at {found['service']!r}; give one of {', '.join(places)}"
        )
    try:
        offset, length = parse_duration(found["offset"]), parse_duration(found["duration"])
        intensity = float(found["intensity"] or 1)
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None
    if not 0 < intensity <= 1:
        raise ValueError(f"{text!r}: intensity is {intensity}; give more than 0 and at most 1")
    if length < 1 or offset + length > config.duration_seconds:
        raise ValueError(
            f"{text!r} does not fit into the run of {config.duration_seconds} s: make --duration longer"
        )
    begin = config.start_second + offset
    return [
        make_fault(known, (tenant_id, found["service"]), (begin, begin + length), intensity, shop)
        for tenant_id in _tenants_named(found["tenant"], tenants, text)
    ]


def _tenants_named(name: str | None, tenants: list[Tenant], text: str) -> list[str]:
    names = [tenant.tenant_id for tenant in tenants]
    if name is None:
        return names[:1]
    if name == "all":
        return names
    if name not in names:
        raise ValueError(f"{text!r}: there is no tenant {name!r}; give all or one of {', '.join(names[:20])}")
    return [name]
