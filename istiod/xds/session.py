"""One ADS stream as a machine without input or output: requests and configurations go in, response bytes come out.

Both variants of the protocol. Rules: the xDS protocol specification, and what Istio's server does where it is silent.
At most one response per type is in flight; what changes meanwhile is merged. Resources are bytes made elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from istiod.encode.resource import CLUSTER, ENDPOINTS, SECRET, Resource
from istiod.xds.delivery import Delivery
from istiod.xds.frames import delta_response, sotw_response
from istiod.xds.order import REMOVED_AFTER, SENDING, WILDCARD
from istiod.xds.subscription import Subscription

MAX_RESPONSE_BYTES = 4 << 20
_NO_RESOURCES: Mapping[str, Resource] = {}


@dataclass(frozen=True, slots=True)
class Request:
    """A discovery request of either variant, as plain values. `names` are the subscribed (delta: newly) names."""

    type_url: str
    names: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    initial_versions: Mapping[str, str] | None = None
    nonce: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class TypeStatus:
    """How far one type is: revisions sent and acknowledged, and the client's complaint if the last answer was
    refused.
    """

    type_url: str
    sent: int
    acked: int
    sent_revision: int
    acked_revision: int
    nacks: int
    refused: str
    pending: bool


class Session:
    """The state of one stream. `delta` chooses the variant. Feed it, then `take()` what is to be sent."""

    def __init__(self, delta: bool, nonce_prefix: str = "") -> None:
        self._delta = delta
        self._prefix = nonce_prefix
        self._counter = 0
        self._delivery: Delivery | None = None
        self._secrets: Mapping[str, Resource] = {}
        self._types: dict[str, Subscription] = {}
        self._warming: set[str] = set()

    def status(self) -> tuple[TypeStatus, ...]:
        """How far each subscribed type is, in sending order."""
        return tuple(
            TypeStatus(
                url, sub.sent, sub.acked, sub.sent_revision, sub.acked_revision, sub.nacks, sub.refused, not sub.idle
            )
            for url in SENDING
            if (sub := self._types.get(url)) is not None
        )

    @property
    def idle(self) -> bool:
        """Whether the client has acknowledged or refused everything that it is to have."""
        return all(sub.idle for sub in self._types.values())

    def subscribed(self) -> dict[str, dict[str, Resource]]:
        """What this client is to have now: of each subscribed type the resources it asked for, by name."""
        return {
            url: {name: resource for name, resource in self._resources(url).items() if sub.wants(name)}
            for url in SENDING
            if (sub := self._types.get(url)) is not None
        }

    def on_delivery(self, delivery: Delivery) -> None:
        """A new configuration of the proxy's class. Its changes are against the last one delivered to this session."""
        first = self._delivery is None
        self._delivery = delivery
        for type_url, sub in self._types.items():
            if type_url == SECRET:
                continue
            if first:
                self._answer_first(type_url, sub)
                continue
            changed = delivery.changed.get(type_url)
            removed = delivery.removed.get(type_url)
            if changed:
                sub.mark_changed(changed)
            if removed:
                sub.mark_removed(removed)

    def on_other_class(self, delivery: Delivery) -> None:
        """The proxy moved to another class: everything is compared by version, only what differs is sent."""
        old = self._delivery
        self._delivery = delivery
        for type_url, sub in self._types.items():
            if type_url == SECRET:
                continue
            before = old.configuration.get(type_url, _NO_RESOURCES) if old is not None else _NO_RESOURCES
            now = delivery.configuration.get(type_url, _NO_RESOURCES)
            changed = frozenset(n for n, r in now.items() if (b := before.get(n)) is None or b.version != r.version)
            sub.mark_changed(changed)
            sub.mark_removed(frozenset(before.keys() - now.keys()))

    def on_secrets(self, secrets: Mapping[str, Resource]) -> None:
        """The proxy's own secrets, by name."""
        changed = frozenset(
            n for n, r in secrets.items() if (b := self._secrets.get(n)) is None or b.version != r.version
        )
        self._secrets = secrets
        sub = self._types.get(SECRET)
        if sub is not None:
            sub.mark_changed(changed)

    def on_request(self, request: Request) -> None:
        """A request of the client: a subscription, an acknowledgement, or a refusal."""
        sub = self._types.get(request.type_url)
        if sub is None:
            sub = self._types[request.type_url] = Subscription()
            self._first_request(sub, request)
        elif self._delta:
            self._delta_request(sub, request)
        else:
            self._sotw_request(sub, request)

    def _first_request(self, sub: Subscription, request: Request) -> None:
        named = frozenset(request.names) - {"*"}
        if request.type_url in WILDCARD:
            sub.wildcard = not request.names or "*" in request.names
        sub.add(named)
        if self._delta and request.initial_versions:
            sub.initial = request.initial_versions
            sub.add(frozenset(request.initial_versions) - named if not sub.wildcard else frozenset())
        if self._delivery is not None or request.type_url == SECRET:
            self._answer_first(request.type_url, sub)

    def _answer_first(self, type_url: str, sub: Subscription) -> None:
        resources = self._resources(type_url)
        known, sub.initial = sub.initial, {}
        wanted = resources.keys() if sub.wildcard else sub.names
        fresh = {
            name
            for name in wanted
            if (r := resources.get(name)) is not None and (name in self._due(type_url) or known.get(name) != r.version)
        }
        sub.changed = fresh
        gone = {name for name in known if name not in resources}
        if self._delta and not sub.wildcard and type_url != SECRET:
            gone |= {name for name in sub.names if name not in resources}
        sub.removed = gone
        sub.full = not known

    def _due(self, type_url: str) -> set[str]:
        return self._warming if type_url == ENDPOINTS else set()

    def _delta_request(self, sub: Subscription, request: Request) -> None:
        if request.nonce:
            self._acknowledge(sub, request)
        if request.unsubscribe:
            if "*" in request.unsubscribe:
                sub.wildcard = False
            sub.drop(frozenset(request.unsubscribe))
        if request.names:
            added = frozenset(request.names) - {"*"}
            sub.add(added)
            resources = self._resources(request.type_url)
            there = {name for name in added if name in resources}
            sub.changed = sub.changed | there
            if self._delivery is not None and request.type_url != SECRET:
                sub.removed = sub.removed | (added - there)

    def _sotw_request(self, sub: Subscription, request: Request) -> None:
        if request.nonce and request.nonce != sub.last_nonce:
            return  # stale: the client has not seen the newest answer yet and will ask again
        if request.nonce:
            self._acknowledge(sub, request)
        if sub.wildcard:
            return
        names = frozenset(request.names)
        added = names - sub.names
        sub.drop(sub.names - names)
        sub.add(added)
        again = frozenset(self._warming & names) if request.type_url == ENDPOINTS else frozenset()
        resources = self._resources(request.type_url)
        sub.changed = sub.changed | {name for name in added | again if name in resources}

    def _acknowledge(self, sub: Subscription, request: Request) -> None:
        if request.nonce != sub.nonce:
            return
        sub.nonce = ""
        if request.error:
            sub.nacks += 1
            sub.refused = request.error
        else:
            sub.acked, sub.acked_revision, sub.refused = sub.sent, sub.sent_revision, ""

    def _resources(self, type_url: str) -> Mapping[str, Resource]:
        if type_url == SECRET:
            return self._secrets
        return (
            self._delivery.configuration.get(type_url, _NO_RESOURCES) if self._delivery is not None else _NO_RESOURCES
        )

    def take(self) -> list[bytes]:
        """The responses to send now, in order. Call after every input."""
        responses: list[bytes] = []
        for type_url in SENDING:
            sub = self._types.get(type_url)
            if sub is None or sub.nonce:
                continue
            if self._delivery is None and type_url != SECRET:
                continue
            responses += self._responses(type_url, sub)
        return responses

    def _responses(self, type_url: str, sub: Subscription) -> Iterator[bytes]:
        if type_url == ENDPOINTS and self._warming:
            due = frozenset(name for name in self._warming if name in self._resources(type_url))
            sub.mark_changed(due)
            self._warming.difference_update(sub.names)
        removed = sub.removed if sub.removed and self._may_remove(type_url) else frozenset()
        if not (sub.changed or removed or sub.full):
            return
        if type_url == SECRET and not (sub.changed or removed):
            return  # secrets that are not there yet are not answered with nothing
        resources = self._resources(type_url)
        changed = frozenset(name for name in sub.changed if name in resources)
        sub.changed, sub.full = frozenset(), False
        if removed:
            sub.removed = sub.removed - removed
        if type_url == CLUSTER:
            self._warming |= changed
        if self._delta:
            yield from self._delta_responses(type_url, sub, changed, removed, resources)
        else:
            yield from self._sotw_responses(type_url, sub, changed, removed, resources)

    def _may_remove(self, type_url: str) -> bool:
        return all((sub := self._types.get(other)) is None or sub.idle for other in REMOVED_AFTER.get(type_url, ()))

    def _delta_responses(
        self,
        type_url: str,
        sub: Subscription,
        changed: frozenset[str],
        removed: Iterable[str],
        resources: Mapping[str, Resource],
    ) -> Iterator[bytes]:
        body = self._body(type_url, changed, resources)
        gone = sorted(removed)
        if len(body) <= MAX_RESPONSE_BYTES:
            yield delta_response(type_url, self._sent(sub), self._version(), body, gone)
            return
        part: list[bytes] = []
        size = 0
        for name in sorted(changed):
            frame = resources[name].delta
            if part and size + len(frame) > MAX_RESPONSE_BYTES:
                yield delta_response(type_url, self._sent(sub), self._version(), b"".join(part), ())
                part, size = [], 0
            part.append(frame)
            size += len(frame)
        yield delta_response(type_url, self._sent(sub), self._version(), b"".join(part), gone)

    def _sotw_responses(
        self,
        type_url: str,
        sub: Subscription,
        changed: frozenset[str],
        removed: Iterable[str],
        resources: Mapping[str, Resource],
    ) -> Iterator[bytes]:
        if sub.wildcard:
            body = b"".join(resource.sotw for resource in resources.values())
        elif not changed and not sub.names:
            return
        else:
            body = self._body(type_url, changed, resources)
        yield sotw_response(type_url, self._sent(sub), self._version(), body)

    def _body(self, type_url: str, changed: frozenset[str], resources: Mapping[str, Resource]) -> bytes:
        delivery = self._delivery if type_url != SECRET else None
        if delivery is None:
            delivery = Delivery({})
        return delivery.body(type_url, changed, resources, self._delta)

    def _version(self) -> str:
        return str(self._delivery.revision) if self._delivery is not None else "0"

    def _sent(self, sub: Subscription) -> str:
        self._counter += 1
        sub.nonce = sub.last_nonce = f"{self._prefix}{self._counter}"
        sub.sent += 1
        sub.sent_revision = self._delivery.revision if self._delivery is not None else 0
        return sub.nonce
