"""Envoy's own configuration dump (`/config_dump`) as resources by type, beside what a control plane says. Pure.

Owns the dump's form and what must not be shown of it: private keys and other credentials are taken out, whoever wrote
the file. Field names stay as Envoy has them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from federation.model.errors import InvalidInput
from federation.model.findings import Finding, Severity
from istiod.encode.decode import describe_certificates

Json = Mapping[str, Any]
REDACTED = "[redacted]"
_SECRET_FIELDS = frozenset(
    {"private_key", "privatekey", "password", "session_ticket_keys", "sessionticketkeys", "generic_secret",
     "genericsecret", "private_key_provider", "privatekeyprovider", "hmac_secret", "token_secret"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Item:
    """One resource. `content` is plain data, None where it may not be shown; `state` is a word of who said it."""

    name: str
    content: Any
    version: str = ""
    state: str = ""


Resources = dict[str, list[Item]]


def field(message: Any, name: str) -> Any:
    """A field by its name in protobuf, in a message of either JSON form; None if it is not there."""
    if not isinstance(message, Mapping):
        return None
    if name in message:
        return message[name]
    first, *rest = name.split("_")
    return message.get(first + "".join(part.capitalize() for part in rest))


def fields(message: Any, name: str) -> list[Any]:
    """The items of a repeated field."""
    found = field(message, name)
    return found if isinstance(found, list) else []


def read_dump(dump: Any, source: str) -> Resources:
    """The resources of a dump, the bootstrap among them; raises InvalidInput if it is none."""
    if not isinstance(dump, Mapping) or not isinstance(dump.get("configs"), list):
        message, fix = "is no configuration dump of Envoy", "write it with GET /config_dump?include_eds"
        raise InvalidInput([Finding(Severity.ERROR, "NotADump", source, "", message, fix)])
    found: Resources = {}
    for part in dump["configs"]:
        kind = str(part.get("@type", "")).rpartition(".")[2] if isinstance(part, Mapping) else ""
        if kind in _PARTS:
            name, read = _PARTS[kind]
            found.setdefault(name, []).extend(read(part))
    for items in found.values():
        items.sort(key=lambda item: item.name)
    return found


def _of(part: Json, lists: Iterable[tuple[str, str, str]], inner: str, key: str = "name") -> Iterator[Item]:
    """Resources of a dump: each list with its state, the message inside each entry, and the field of its name."""
    for name, inside, state in lists:
        for entry in fields(part, name):
            holder = field(entry, inside) if inside else entry
            message = field(holder, inner)
            if message is not None:
                version = str(field(holder, "version_info") or "")
                yield Item(str(field(message, key) or ""), redacted(message), version, state)


def _clusters(part: Json) -> Iterator[Item]:
    lists = (("static_clusters", "", "static"), ("dynamic_active_clusters", "", "active"),
             ("dynamic_warming_clusters", "", "warming"))  # fmt: skip
    return _of(part, lists, "cluster")


def _listeners(part: Json) -> Iterator[Item]:
    lists = (("static_listeners", "", "static"), ("dynamic_listeners", "active_state", "active"),
             ("dynamic_listeners", "warming_state", "warming"))  # fmt: skip
    return _of(part, lists, "listener")


def _routes(part: Json) -> Iterator[Item]:
    return _of(part, (("static_route_configs", "", "static"), ("dynamic_route_configs", "", "active")), "route_config")


def _endpoints(part: Json) -> Iterator[Item]:
    lists = (("static_endpoint_configs", "", "static"), ("dynamic_endpoint_configs", "", "active"))
    return _of(part, lists, "endpoint_config", "cluster_name")


def _secrets(part: Json) -> Iterator[Item]:
    states = {"static_secrets": "static", "dynamic_active_secrets": "active", "dynamic_warming_secrets": "warming"}
    for name, state in states.items():
        for entry in fields(part, name):
            secret = field(entry, "secret")
            chain = field(secret, "tls_certificate")
            source = (
                field(chain, "certificate_chain") if chain else field(field(secret, "validation_context"), "trusted_ca")
            )
            content = describe_certificates("Cert Chain" if chain else "CA", _bytes(source))
            yield Item(str(field(entry, "name") or ""), content, str(field(entry, "version_info") or ""), state)


def _bytes(source: Any) -> bytes:
    """The content of a data source, as far as it stands in the dump."""
    text, encoded = field(source, "inline_string"), field(source, "inline_bytes")
    try:
        return base64.b64decode(encoded) if isinstance(encoded, str) else str(text or "").encode()
    except binascii.Error:
        return b""


def _bootstrap(part: Json) -> Iterator[Item]:
    message = field(part, "bootstrap") or {}
    yield Item(str(field(field(message, "node"), "id") or ""), redacted(message))


_PARTS = {
    "BootstrapConfigDump": ("bootstrap", _bootstrap),
    "ClustersConfigDump": ("clusters", _clusters),
    "ListenersConfigDump": ("listeners", _listeners),
    "RoutesConfigDump": ("routes", _routes),
    "EndpointsConfigDump": ("endpoints", _endpoints),
    "SecretsConfigDump": ("secrets", _secrets),
}


def redacted(value: Any) -> Any:
    """Plain data without what may be a credential."""
    if isinstance(value, Mapping):
        return {
            key: REDACTED if str(key).lower() in _SECRET_FIELDS and inner else redacted(inner)
            for key, inner in value.items()
        }
    return [redacted(item) for item in value] if isinstance(value, list) else value


def read_host_statuses(found: Any) -> list[Item]:
    """Endpoints as Envoy uses them (`/clusters?format=json`), by upstream."""
    items = []
    for cluster in fields(found, "cluster_statuses"):
        name = str(field(cluster, "name") or "")
        items.append(Item(name, {"name": name, "host_statuses": fields(cluster, "host_statuses")}, "", "active"))
    return sorted(items, key=lambda item: item.name)
