"""Resources as tables like those of `istioctl proxy-config`, and its filters. Pure.

Input: plain data of a control plane or of Envoy, in either JSON form. A row is one thing that people look for: a
cluster, a filter chain, a route, an endpoint, a certificate.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from federation.model.errors import InvalidInput
from federation.model.findings import Finding, Severity
from istiod.cli.envoy_dump import Item, Resources, field, fields

Row = tuple[str, ...]
_CONFIG = re.compile(r"/apis/[^/]+/[^/]+/namespaces/([^/]*)/[^/]+/(.+)")
MAX_DOMAINS = 3

COLUMNS = {
    "clusters": ("SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE"),
    "listeners": ("ADDRESSES", "PORT", "MATCH", "DESTINATION"),
    "routes": ("NAME", "VHOST NAME", "DOMAINS", "MATCH", "VIRTUAL SERVICE"),
    "endpoints": ("ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER"),
    "extensions": ("NAME", "VERSION"),
    "secrets": ("RESOURCE NAME", "TYPE", "STATUS", "VALID CERT", "SERIAL NUMBER", "NOT AFTER", "NOT BEFORE"),
}


@dataclass(frozen=True, slots=True)
class Filters:
    """What to show; "" and 0 = everything. Texts are compared as a whole, but for `fqdn`, which may be a part."""

    fqdn: str = ""
    port: int = 0
    direction: str = ""
    subset: str = ""
    address: str = ""
    type: str = ""
    name: str = ""
    cluster: str = ""
    status: str = ""


# Which filters mean something for which resources.
OF_KIND = {
    "clusters": ("fqdn", "port", "direction", "subset"),
    "listeners": ("address", "port", "type"),
    "routes": ("name",),
    "endpoints": ("cluster", "address", "port", "status"),
}


def check_filters(kind: str, filters: Filters) -> None:
    """Raise InvalidInput for a filter that means nothing for these resources."""
    known = OF_KIND.get(kind, ())
    wrong = [name for name in Filters.__dataclass_fields__ if getattr(filters, name) and name not in known]
    if wrong:
        fix = f"filters of {kind}: {', '.join(f'--{name}' for name in known) or 'none'}"
        raise InvalidInput(
            [Finding(Severity.ERROR, "InvalidFlag", f"--{name}", "", f"is no filter of {kind}", fix) for name in wrong]
        )


def select(kind: str, items: list[Item], filters: Filters, now: str) -> tuple[list[Item], list[Row]]:
    """The resources of which something fits, and their fitting rows; `now` is the time as RFC 3339."""
    found = [(item, list(_ROWS[kind](item, filters, now))) for item in items]
    named = any(getattr(filters, name) for name in OF_KIND.get(kind, ()))
    return [item for item, rows in found if rows or not named], [row for _, rows in found for row in rows]


def with_inline(resources: Resources) -> Resources:
    """With what stands inside other resources beside them: routes of listeners, endpoints of clusters."""
    routes = {item.name for item in resources.get("routes", ())}
    inline = [
        Item(str(field(config, "name") or ""), config, item.version, item.state)
        for item in resources.get("listeners", ())
        for chain in _chains(item.content)
        for config in (field(_filter(chain, "http_connection_manager"), "route_config"),)
        if config is not None
    ]
    first = {item.name: item for item in reversed(inline) if item.name not in routes}
    fixed = [
        Item(item.name, load, item.version, item.state)
        for item in resources.get("clusters", ())
        if (load := field(item.content, "load_assignment")) is not None
    ]
    found = {**resources}
    if "routes" in resources or first:
        found["routes"] = sorted([*resources.get("routes", ()), *first.values()], key=lambda item: item.name)
    known = {item.name for item in resources.get("endpoints", ())}
    fixed = [item for item in fixed if item.name not in known]
    if "endpoints" in resources or fixed:
        found["endpoints"] = sorted([*resources.get("endpoints", ()), *fixed], key=lambda item: item.name)
    return found


def _clusters(item: Item, filters: Filters, _: str) -> Iterator[Row]:
    parts = item.name.split("|", 3) if item.name.count("|") == 3 else ["-", "-", "-", item.name]
    direction, port, subset, host = parts
    if filters.fqdn and filters.fqdn not in host:
        return
    if (filters.port and str(filters.port) != port) or filters.subset not in ("", subset):
        return
    if filters.direction not in ("", direction):
        return
    kind = field(item.content, "type") or field(field(item.content, "cluster_type"), "name") or "STATIC"
    istio = field(field(field(item.content, "metadata"), "filter_metadata"), "istio")
    shown = (host or "-", port, subset or "-", direction, kind.rpartition(".")[2].upper())
    yield (*shown, _object(field(istio, "config")))


def _object(config: Any) -> str:
    """`name.namespace` of one of Istio's path-like names."""
    found = _CONFIG.fullmatch(config) if isinstance(config, str) else None
    return f"{found[2]}.{found[1]}" if found is not None else ""


def _listeners(item: Item, filters: Filters, _: str) -> Iterator[Row]:
    address, port = _address(field(item.content, "address"))
    if filters.address not in ("", address) or (filters.port and str(filters.port) != port):
        return
    for chain in _chains(item.content):
        handler = _filter(chain, "http_connection_manager")
        if filters.type and filters.type.upper() != ("HTTP" if handler is not None else "TCP"):
            continue
        yield address, port, _match(field(chain, "filter_chain_match")), _destination(chain)


def _chains(listener: Any) -> list[Any]:
    last = field(listener, "default_filter_chain")
    return [*fields(listener, "filter_chains"), *([last] if last is not None else [])]


def _filter(chain: Any, name: str) -> Any:
    """The configuration of a network filter of a chain; None if it has none such."""
    for one in fields(chain, "filters"):
        if str(field(one, "name")).endswith(name):
            return field(one, "typed_config")
    return None


def _match(match: Any) -> str:
    words = []
    if field(match, "server_names"):
        words.append(f"SNI: {','.join(field(match, 'server_names'))}")
    if field(match, "transport_protocol"):
        words.append(f"Trans: {field(match, 'transport_protocol')}")
    if field(match, "application_protocols"):
        words.append(f"App: {','.join(field(match, 'application_protocols'))}")
    ranges = [f"{field(part, 'address_prefix')}/{field(part, 'prefix_len')}" for part in fields(match, "prefix_ranges")]
    port = field(match, "destination_port")
    if ranges or port:
        words.append(f"Addr: {','.join(ranges) or '*'}:{port or '*'}")
    return "; ".join(words) or "ALL"


def _destination(chain: Any) -> str:
    http, tcp = _filter(chain, "http_connection_manager"), _filter(chain, "tcp_proxy")
    if http is not None:
        name = field(field(http, "rds"), "route_config_name")
        inline = field(field(http, "route_config"), "name")
        return f"Route: {name}" if name else f"Inline Route: {inline}"
    if tcp is not None:
        weighted = fields(field(tcp, "weighted_clusters"), "clusters")
        names = [f"{field(one, 'name')} ({field(one, 'weight')})" for one in weighted]
        return f"Cluster: {', '.join(names) or field(tcp, 'cluster')}"
    return "Non-HTTP/Non-TCP"


def _routes(item: Item, filters: Filters, _: str) -> Iterator[Row]:
    if filters.name not in ("", item.name):
        return
    for host in fields(item.content, "virtual_hosts"):
        domains = [str(domain) for domain in fields(host, "domains")]
        shown = ", ".join(domains[:MAX_DOMAINS])
        shown += f" + {len(domains) - MAX_DOMAINS} more" if len(domains) > MAX_DOMAINS else ""
        routes = fields(host, "routes")
        for route in routes:
            istio = field(field(field(route, "metadata"), "filter_metadata"), "istio")
            owner = _object(field(istio, "config")) or _answer(route)
            yield item.name, str(field(host, "name")), shown, _path(field(route, "match")), owner
        if not routes:
            yield item.name, str(field(host, "name")), shown, "", "404"


def _answer(route: Any) -> str:
    direct = field(route, "direct_response")
    return str(field(direct, "status")) if direct is not None else ""


def _path(match: Any) -> str:
    text = "/*"
    for name, end in (("prefix", "*"), ("path_separated_prefix", "/*"), ("path", "")):
        if field(match, name) is not None:
            text = f"{field(match, name)}{end}"
    regex = field(field(match, "safe_regex"), "regex")
    names = [str(field(one, "name")) for one in (*fields(match, "headers"), *fields(match, "query_parameters"))]
    return " ".join((regex if regex is not None else text, *names))


def _endpoints(item: Item, filters: Filters, _: str) -> Iterator[Row]:
    if filters.cluster not in ("", item.name):
        return
    for address, port, status, outlier in _hosts(item.content):
        if filters.address not in ("", address) or (filters.port and str(filters.port) != port):
            continue
        if filters.status.upper() in ("", status):
            yield f"{address}:{port}" if port else address, status, outlier, item.name


def _hosts(content: Any) -> Iterator[tuple[str, str, str, str]]:
    for locality in fields(content, "endpoints"):
        for endpoint in fields(locality, "lb_endpoints"):
            status = str(field(endpoint, "health_status") or "HEALTHY")
            yield *_address(field(field(endpoint, "endpoint"), "address")), status, "-"
    for host in fields(content, "host_statuses"):
        health = field(host, "health_status")
        failed = field(health, "failed_outlier_check") is True
        eds = str(field(health, "eds_health_status") or "HEALTHY")
        bad = failed or field(health, "failed_active_health_check") is True
        yield *_address(field(host, "address")), "UNHEALTHY" if bad else eds, "FAILED" if failed else "OK"


def _address(message: Any) -> tuple[str, str]:
    pipe, socket = field(message, "pipe"), field(message, "socket_address")
    internal = field(message, "envoy_internal_address")
    if pipe is not None:
        return f"unix://{field(pipe, 'path')}", ""
    if internal is not None:
        return f"envoy://{field(internal, 'server_listener_name')}", ""
    return str(field(socket, "address") or ""), str(field(socket, "port_value") or 0)


def _extensions(item: Item, _filters: Filters, _: str) -> Iterator[Row]:
    yield item.name, item.version


def _secrets(item: Item, _filters: Filters, now: str) -> Iterator[Row]:
    said = item.content if isinstance(item.content, Mapping) else {}
    begins, ends = str(said.get("notBefore", "")), str(said.get("notAfter", ""))
    valid = str(begins <= now <= ends).lower() if said else "-"
    yield (item.name, str(said.get("type", "-")), item.state.upper(), valid, str(said.get("serialNumber", "-")),
           ends or "-", begins or "-")  # fmt: skip


_ROWS: Mapping[str, Callable[[Item, Filters, str], Iterator[Row]]] = {
    "clusters": _clusters,
    "listeners": _listeners,
    "routes": _routes,
    "endpoints": _endpoints,
    "extensions": _extensions,
    "secrets": _secrets,
}
