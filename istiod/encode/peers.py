"""How workloads tell each other who they are, for statistics: what a proxy keeps about itself with each connection, the
header that a client sends, and what a server makes of it.

The header goes to upstreams of the mesh alone, and overwrites whatever the application put there. A server takes it
away in any case, and believes it only where `PeerExchange.BELIEVE` says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from envoy.config.core.v3.base_pb2 import HeaderValueOption
from envoy.extensions.filters.common.set_filter_state.v3.value_pb2 import FilterStateValue
from envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2 import HeaderMutation
from envoy.extensions.filters.http.header_to_metadata.v3.header_to_metadata_pb2 import Config as HeaderToMetadata
from envoy.extensions.filters.network.set_filter_state.v3.set_filter_state_pb2 import Config as SetFilterState
from google.protobuf.message import Message

from istiod.resolve.specs.telemetry import OWN_STATE, PEER_METADATA, UNKNOWN, Fact, PeerExchange

HEADER = "x-isthmus-workload"
STATE_FILTER = "envoy.filters.network.set_filter_state"

_NODE = "xds.node.metadata"
_LABELS = f"{_NODE}.LABELS"
# Where a proxy finds its own facts in its node: the first key that is there, labels in the order that Istio has.
_WHERE: dict[Fact, tuple[tuple[str, str], ...]] = {
    Fact.NAME: ((_NODE, "WORKLOAD_NAME"),),
    Fact.NAMESPACE: ((_NODE, "NAMESPACE"),),
    Fact.SERVICE: (
        (_LABELS, "service.istio.io/canonical-name"),
        (_LABELS, "app.kubernetes.io/name"),
        (_LABELS, "app"),
        (_NODE, "WORKLOAD_NAME"),
    ),
    Fact.REVISION: (
        (_LABELS, "service.istio.io/canonical-revision"),
        (_LABELS, "app.kubernetes.io/version"),
        (_LABELS, "version"),
    ),
    Fact.CLUSTER: ((_NODE, "CLUSTER_ID"),),
    Fact.APP: ((_LABELS, "app"),),
    Fact.VERSION: ((_LABELS, "version"),),
}
_ABSENT = {Fact.REVISION: "latest"}
_CLUSTER = "xds.cluster_metadata.filter_metadata.istio"


@lru_cache(maxsize=2)
def own_facts(header: bool) -> SetFilterState:
    """A network filter that finds a proxy's own facts once per connection: each of them, and all as the `header` has
    them, where one is sent.
    """
    values = {f"{OWN_STATE}.{fact}": _format(fact) for fact in Fact}
    if header:
        values[OWN_STATE] = ";".join(f"%FILTER_STATE({key}:PLAIN)%" for key in values)
    return SetFilterState(on_new_connection=[_state(key, text) for key, text in values.items()])


def _format(fact: Fact) -> str:
    *others, (place, key) = _WHERE[fact]
    if place == _NODE:  # always there
        found = f"{_NODE}.{key}"
    else:
        others, found = [*others, (place, key)], f"'{_ABSENT.get(fact, UNKNOWN)}'"
    for place, key in reversed(others):
        found = f"'{key}' in {place} ? {place}['{key}'] : {found}"
    return f"%CEL({found})%"


def _state(key: str, text: str) -> FilterStateValue:
    result = FilterStateValue(object_key=key, factory_key="envoy.string")
    result.format_string.text_format_source.inline_string = text
    return result


def receive(exchange: PeerExchange) -> Iterator[tuple[str, Message]]:
    """The HTTP filter of a server, before all that may look at headers."""
    if exchange is PeerExchange.STRIP:
        mutation = HeaderMutation()
        mutation.mutations.request_mutations.add(remove=HEADER)
        yield "envoy.filters.http.header_mutation", mutation
    if exchange is PeerExchange.BELIEVE:
        config = HeaderToMetadata()
        facts = tuple(Fact)
        for index, fact in enumerate(facts):
            rule = config.request_rules.add(header=HEADER, remove=index == len(facts) - 1)
            present, missing = rule.on_header_present, rule.on_header_missing
            present.metadata_namespace = missing.metadata_namespace = PEER_METADATA
            present.key = missing.key = fact
            missing.value = UNKNOWN
            present.regex_value_rewrite.pattern.regex = f"^{'[^;]*;' * index}([^;]*).*$"
            present.regex_value_rewrite.substitution = r"\1"
        yield "envoy.filters.http.header_to_metadata", config


def send(exchange: PeerExchange) -> Iterator[tuple[str, Message]]:
    """The HTTP filter of a client, after all that may choose another upstream."""
    if exchange is not PeerExchange.SEND:
        return
    mutation = HeaderMutation()
    mutation.mutations.request_mutations.add(remove=HEADER)
    append = mutation.mutations.request_mutations.add().append
    append.append_action = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    append.header.key = HEADER
    inside = f"'services' in {_CLUSTER} && !('external' in {_CLUSTER})"
    append.header.value = f"%CEL({inside} ? filter_state['{OWN_STATE}'] : '')%"
    yield "envoy.filters.http.header_mutation", mutation
