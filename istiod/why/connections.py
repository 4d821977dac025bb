"""Which listener and which filter chain a connection meets, as Envoy chooses them. Pure.

Rules: Envoy's `FilterChainMatch` narrows down by destination port, destination address, server name, transport,
application protocol and source, always the most specific, and never looks back; a listener on the wildcard address that
uses original destinations hands over to the listener of that address and port, else of the port alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from istiod.resolve.specs.listener import Direction, FilterChainSpec, ListenerSpec
from istiod.why.matching import within

WILDCARDS = ("0.0.0.0", "::")


@dataclass(frozen=True, slots=True)
class Connection:
    """What a listener can see of a connection. `address` is where it was going, "" for an address of nobody here.

    `protocols` are offered in TLS, or found by looking at plaintext.
    """

    address: str
    port: int
    source: str = ""
    tls: bool = False
    server_name: str = ""
    protocols: tuple[str, ...] = ()

    def seen_by(self, listener: ListenerSpec) -> Connection:
        """The same without what this listener does not look at."""
        tls_seen = listener.tls_inspector and self.port not in listener.skip.tls_inspector
        if self.tls:
            return self if tls_seen else Connection(self.address, self.port, self.source)
        http_seen = listener.http_inspector and self.port not in listener.skip.http_inspector
        return Connection(self.address, self.port, self.source, protocols=self.protocols if http_seen else ())


def outbound_listener(listeners: Iterable[ListenerSpec], connection: Connection) -> ListenerSpec | None:
    """The listener for a captured call: of its address and port, of its port, else the one that catches all."""
    ours = [listener for listener in listeners if listener.direction is not Direction.INBOUND]
    for addresses in ((connection.address,), WILDCARDS):
        for listener in ours:
            if listener.port == connection.port and listener.address in addresses and not listener.use_original_dst:
                return listener
    return next((listener for listener in ours if listener.use_original_dst), None)


def dialled_listener(listeners: Iterable[ListenerSpec], connection: Connection) -> ListenerSpec | None:
    """The listener that somebody dials itself: at its address if that is known, else any on the port."""
    there = [listener for listener in listeners if listener.port == connection.port and listener.bind_to_port]
    exact = [listener for listener in there if listener.address == connection.address]
    wild = [listener for listener in there if listener.address in WILDCARDS]
    return next(iter((*exact, *wild, *there)), None)


Chains = Sequence[FilterChainSpec]


def find_chain(listener: ListenerSpec, connection: Connection) -> FilterChainSpec | None:
    """The filter chain of a connection; None if it is closed at once."""
    seen = connection.seen_by(listener)
    rest: Chains = listener.chains
    for narrow in (_port, _destination, _server_name, _transport, _protocol, _source):
        rest = narrow(rest, seen)
        if not rest:
            return listener.default_chain
    return rest[0]


def _port(chains: Chains, connection: Connection) -> Chains:
    exact = [chain for chain in chains if chain.match.destination_port == connection.port]
    return exact or [chain for chain in chains if not chain.match.destination_port]


def _destination(chains: Chains, connection: Connection) -> Chains:
    return _longest(chains, connection.address, lambda chain: chain.match.destinations)


def _source(chains: Chains, connection: Connection) -> Chains:
    return _longest(chains, connection.source, lambda chain: chain.match.sources)


def _longest(chains: Chains, address: str, ranges: Callable[[FilterChainSpec], tuple[str, ...]]) -> Chains:
    """The chains with the narrowest range around an address; those without ranges take the rest."""
    found: dict[int, list[FilterChainSpec]] = {}
    for chain in chains:
        said = ranges(chain)
        lengths = [ip_network(text, strict=False).prefixlen for text in said if within(address, text)]
        if lengths or not said:
            found.setdefault(max(lengths, default=-1), []).append(chain)
    return found[max(found)] if found else ()


def _server_name(chains: Chains, connection: Connection) -> Chains:
    name = connection.server_name
    wanted = [name, *(f"*{name[index:]}" for index, letter in enumerate(name) if letter == ".")] if name else []
    for candidate in wanted:
        exact = [chain for chain in chains if candidate in (said.lower() for said in chain.match.server_names)]
        if exact:
            return exact
    return [chain for chain in chains if not chain.match.server_names]


def _transport(chains: Chains, connection: Connection) -> Chains:
    transport = "tls" if connection.tls else "raw_buffer"
    exact = [chain for chain in chains if chain.match.transport_protocol == transport]
    return exact or [chain for chain in chains if not chain.match.transport_protocol]


def _protocol(chains: Chains, connection: Connection) -> Chains:
    for protocol in connection.protocols:
        exact = [chain for chain in chains if protocol in chain.match.application_protocols]
        if exact:
            return exact
    return [chain for chain in chains if not chain.match.application_protocols]
