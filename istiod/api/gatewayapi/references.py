"""What the kinds of the Gateway API share: references between objects, names, hosts, durations, and their rules.

Rules: the CRD schemas of gateway.networking.k8s.io with their CEL rules. Whether what is referred to exists, and may be
referred to, is decided in `istiod.gatewayapi`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from istiod.api.fields import Model, Port, parse_duration
from istiod.api.problems import Problem

GROUP = "gateway.networking.k8s.io"
MAX_RULES = 16
MAX_PARENTS = 32
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_HOST = re.compile(r"(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_SECTION = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_DURATION = re.compile(r"([0-9]{1,5}(h|m|s|ms)){1,4}")


def _gateway_duration(text: Any) -> float:
    if not isinstance(text, str) or not _DURATION.fullmatch(text):
        raise ValueError("a duration of h, m, s and ms without fractions is wanted, like 10s or 1m30s")
    return parse_duration(text)


GatewayDuration = Annotated[float, BeforeValidator(_gateway_duration)]
Weight = Annotated[int, Field(ge=0, le=1_000_000)]


class ParentReference(Model):
    """What a route hangs on: a Gateway, or for mesh traffic a Service."""

    group: str = GROUP
    kind: str = "Gateway"
    namespace: str = ""
    name: str
    section_name: str = ""
    port: Port | None = None


class BackendReference(Model):
    """Where a route sends to, without a weight; `port` is required for Services."""

    group: str = ""
    kind: str = "Service"
    namespace: str = ""
    name: str
    port: Port | None = None


class BackendRef(BackendReference):
    """Where a route sends to, and its share."""

    weight: Weight = 1


class ObjectReference(Model):
    """An object in the same namespace or another."""

    group: str = ""
    kind: str
    namespace: str = ""
    name: str


class SecretReference(Model):
    """A Secret, of the same namespace unless it says so."""

    group: str = ""
    kind: str = "Secret"
    namespace: str = ""
    name: str


class LocalReference(Model):
    """An object in the same namespace."""

    group: str
    kind: str
    name: str


class CookieConfig(Model):
    """What becomes of a session's cookie."""

    lifetime_type: str = "Session"


class SessionPersistence(Model):
    """Keeping a session at one endpoint."""

    session_name: str = ""
    absolute_timeout: GatewayDuration | None = None
    idle_timeout: GatewayDuration | None = None
    type: str = "Cookie"
    cookie_config: CookieConfig | None = None


def check_parents(parents: Sequence[ParentReference], path: str = "spec.parentRefs") -> Iterator[Problem]:
    """Names that can be; one Gateway twice only with different sections or ports."""
    yield from check_length(parents, MAX_PARENTS, path)
    seen: dict[tuple[str, str, str, str], list[tuple[str, int]]] = {}
    for index, parent in enumerate(parents):
        at = f"{path}[{index}]"
        yield from check_object_name(parent.name, f"{at}.name")
        yield from check_namespace(parent.namespace, f"{at}.namespace")
        if parent.section_name and not _SECTION.fullmatch(parent.section_name):
            yield Problem(
                f"{at}.sectionName", f"{parent.section_name[:80]!r} is no name of a section", "name a listener"
            )
        others = seen.setdefault((parent.group, parent.kind, parent.namespace, parent.name), [])
        place = (parent.section_name, parent.port or 0)
        if place in others:
            yield Problem(at, f"{parent.name[:80]!r} is listed twice", "give each another sectionName or port")
        elif others and any((section, port) == ("", 0) for section, port in [*others, place]):
            message = f"{parent.name[:80]!r} is also listed as a whole"
            yield Problem(at, message, "give a sectionName or port to each, or list it once")
        others.append(place)


def check_backend(backend: BackendReference, path: str) -> Iterator[Problem]:
    """A name that can be, and the port that a Service needs."""
    yield from check_object_name(backend.name, f"{path}.name")
    yield from check_namespace(backend.namespace, f"{path}.namespace")
    if backend.port is None and (backend.group, backend.kind) == ("", "Service"):
        yield Problem(f"{path}.port", "is missing", "name the port of the Service", "MissingField")


def check_hostnames(hosts: Sequence[str], path: str = "spec.hostnames") -> Iterator[Problem]:
    """Hosts of a route."""
    yield from check_length(hosts, 16, path)
    for index, host in enumerate(hosts):
        yield from check_hostname(host, f"{path}[{index}]")


def check_hostname(host: str, path: str, wildcard: bool = True) -> Iterator[Problem]:
    """A DNS name, maybe with `*.` before it; no address."""
    if len(host) > 253 or not _HOST.fullmatch(host) or (not wildcard and host.startswith("*")):
        yield Problem(path, f"{host[:80]!r} is no host", "write a DNS name" + (", or *.suffix" if wildcard else ""))
    elif _is_address(host):
        yield Problem(path, f"{host[:80]!r} is an address", "write a DNS name")


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def check_object_name(name: str, path: str) -> Iterator[Problem]:
    """The name of some object."""
    if not 1 <= len(name) <= 253:
        yield Problem(path, f"has {len(name)} characters", "name an object")


def check_namespace(namespace: str, path: str) -> Iterator[Problem]:
    """A namespace, if there is one."""
    if namespace and (len(namespace) > 63 or not _LABEL.fullmatch(namespace)):
        yield Problem(path, f"{namespace[:80]!r} is no namespace", "use lower case letters, digits and '-'")


def check_section(name: str, path: str) -> Iterator[Problem]:
    """The name of a listener or of a rule."""
    if len(name) > 253 or not _SECTION.fullmatch(name):
        yield Problem(path, f"{name[:80]!r} is no name", "use lower case letters, digits, '-' and '.'")


def check_length(values: Sequence[object], most: int, path: str, least: int = 0) -> Iterator[Problem]:
    """Not more entries than the CRD allows, and not fewer."""
    if len(values) > most:
        yield Problem(path, f"has {len(values)} entries", f"keep at most {most}")
    if len(values) < least:
        yield Problem(path, "is empty", "add an entry")


def check_rule_names(names: Iterable[str]) -> Iterator[Problem]:
    """Rules that have a name have different ones."""
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name:
            yield from check_section(name, f"spec.rules[{index}].name")
        if name and name in seen:
            yield Problem(f"spec.rules[{index}].name", f"{name[:80]!r} is used twice", "use each name once")
        seen.add(name)


def check_session(session: SessionPersistence | None, path: str) -> Iterator[Problem]:
    """The words that there are, and what a permanent cookie needs."""
    if session is None:
        return
    if session.type not in ("Cookie", "Header"):
        yield Problem(f"{path}.type", f"{session.type[:80]!r} is none of Cookie, Header", "use one of them")
    if session.cookie_config is None:
        return
    lifetime = session.cookie_config.lifetime_type
    if session.type == "Header":
        yield Problem(f"{path}.cookieConfig", "is given with type Header", "remove it, or use type Cookie")
    if lifetime not in ("Session", "Permanent"):
        at = f"{path}.cookieConfig.lifetimeType"
        yield Problem(at, f"{lifetime[:80]!r} is none of Session, Permanent", "use one of them")
    if lifetime == "Permanent" and session.absolute_timeout is None:
        yield Problem(f"{path}.absoluteTimeout", "is missing for a permanent cookie", "give it", "MissingField")
