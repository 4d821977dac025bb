"""One ADS stream as a machine without input or output: requests and configurations go in, response bytes come out.

Both variants of the protocol. Rules: the xDS protocol specification, and what Istio's server does where it is silent.
At most one answer per type is on its way; what changes meanwhile is merged. Resources are bytes made elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from federation.model.errors import InvalidInput
from federation.model.findings import Finding, Severity
from istiod.encode.endpoints import encode_endpoints
from istiod.encode.resource import CLUSTER, ENDPOINTS, SECRET, Resource
from istiod.resolve.specs.endpoints import EndpointsSpec
from istiod.xds.delivery import NOTHING, Delivery, join
from istiod.xds.frames import delta_response, sotw_response
from istiod.xds.order import REMOVED_AFTER, SENDING, WILDCARD
from istiod.xds.subscription import Subscription, interned

MAX_RESPONSE_BYTES = 4 << 20
MAX_NAMES = 100_000  # of one type on one stream
STAR = frozenset({"*"})
_NO_RESOURCES: Mapping[str, Resource] = {}


@dataclass(frozen=True, slots=True)
class Request:
    """A discovery request of either variant, as plain values. `names` are the subscribed (delta: newly) names."""

    type_url: str
    names: Collection[str] = ()
    unsubscribe: Collection[str] = ()
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
        self._secrets: Mapping[str, Resource] | None = None
        self._absent: frozenset[str] = NOTHING  # secrets that are known not to be there
        self._types: dict[str, Subscription] = {}
        self._resent: frozenset[str] = NOTHING  # upstreams sent before their endpoints were first asked for

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

    @property
    def waiting(self) -> bool:
        """Whether something is still to be sent, now or after an acknowledgement."""
        return any(sub.waiting for sub in self._types.values())

    def subscribed(self) -> dict[str, dict[str, Resource]]:
        """What this client is to have now: of each subscribed type the resources it asked for, by name."""
        return {
            url: {name: resource for name, resource in (self._resources(url) or {}).items() if sub.wants(name)}
            for url in SENDING
            if (sub := self._types.get(url)) is not None
        }

    def names(self, type_url: str) -> frozenset[str]:
        """The names of a type that the client asks for one by one."""
        sub = self._types.get(type_url)
        return sub.names if sub is not None else NOTHING

    def on_delivery(self, delivery: Delivery) -> None:
        """A new configuration of the proxy's class. Its changes are against the last one delivered to this session."""
        old, self._delivery = self._delivery, delivery
        if old is None:
            self._begin_all()
            return
        for type_url, names in delivery.changed.items():
            if (sub := self._types.get(type_url)) is not None:
                self._change(type_url, sub, names, old.configuration.get(type_url, _NO_RESOURCES))
        for type_url, names in delivery.removed.items():
            if (sub := self._types.get(type_url)) is not None:
                self._remove(type_url, sub, names, old.configuration[type_url])

    def on_other_class(self, delivery: Delivery) -> None:
        """The proxy moved to another class: everything is compared by version, only what differs is sent."""
        old, self._delivery = self._delivery, delivery
        if old is None:
            self._begin_all()
            return
        for type_url, sub in self._types.items():
            if type_url != SECRET:
                before = old.configuration.get(type_url, _NO_RESOURCES)
                now = delivery.configuration.get(type_url, _NO_RESOURCES)
                self._change(type_url, sub, _differing(before, now), before)
                self._remove(type_url, sub, frozenset(before.keys() - now.keys()), before)

    def on_secrets(self, secrets: Mapping[str, Resource], absent: frozenset[str] = NOTHING) -> None:
        """The proxy's own secrets, by name; `absent` names are known not to be there, of all others it is not known.

        Delta clients are told of absence, which ends their wait: Envoy keeps what it has of a secret, and warms up.
        """
        old, self._secrets = self._secrets, secrets
        missed, self._absent = absent - self._absent, absent
        sub = self._types.get(SECRET)
        if sub is None:
            return
        if old is None:
            self._begin(SECRET, sub)
        else:
            sub.mark_changed(_differing(old, secrets))
        if self._delta and missed:
            sub.awaited |= sub.wanted(missed)

    def on_request(self, request: Request) -> None:
        """A request of the client: a subscription, an acknowledgement, or a refusal.

        Types that are not served are not answered. Raises InvalidInput for too many names.
        """
        type_url = request.type_url
        if type_url not in REMOVED_AFTER:
            return
        sub = self._types.get(type_url)
        if sub is None:
            self._first_request(type_url, request)
        elif self._delta:
            self._delta_request(type_url, sub, request)
        else:
            self._sotw_request(type_url, sub, request)

    def _first_request(self, type_url: str, request: Request) -> None:
        sub = Subscription()
        names = frozenset(request.names)
        if type_url in WILDCARD:
            sub.legacy = not names
            sub.wildcard = sub.legacy or "*" in names
        known = request.initial_versions if self._delta else None
        if known and not sub.wildcard:
            names = names.union(known)
        _subscribe(sub, names - STAR)
        # Envoy does not ask for upstreams while some of them warm, and those need endpoints whether it has them or not.
        if type_url != ENDPOINTS or CLUSTER in self._types:
            sub.initial = known
        self._types[type_url] = sub
        if self._resources(type_url) is not None:
            self._begin(type_url, sub)

    def _begin_all(self) -> None:
        for type_url, sub in self._types.items():
            if type_url != SECRET:
                self._begin(type_url, sub)

    def _begin(self, type_url: str, sub: Subscription) -> None:
        """What the first answer has to say, now that there is something to compare with what the client has."""
        resources = self._resources(type_url) or _NO_RESOURCES
        wanted = self._everything(type_url, sub)
        known, sub.initial = sub.initial, None
        if not known:
            sub.awaited = wanted
            sub.owed = bool(sub.wildcard or sub.names)
            return
        again = self._resent & wanted if type_url == ENDPOINTS and self._resent else NOTHING
        differing = self._differing_from(type_url, wanted, known)
        sub.awaited = differing | again if again else differing
        if sub.wildcard:
            sub.removed = frozenset(known.keys() - resources.keys() - sub.names)

    def _differing_from(self, type_url: str, wanted: frozenset[str], known: Mapping[str, str]) -> frozenset[str]:
        if type_url != SECRET and self._delivery is not None:
            return self._delivery.differing(type_url, wanted, known)
        secrets = self._secrets or _NO_RESOURCES
        return frozenset(n for n in wanted if (r := secrets.get(n)) is None or known.get(n) != r.version)

    def _delta_request(self, type_url: str, sub: Subscription, request: Request) -> None:
        if request.nonce:
            sub.acknowledge(request.nonce, request.error)
        if request.unsubscribe:
            dropped = frozenset(request.unsubscribe)
            if "*" in dropped:
                sub.wildcard = False
            again = dropped & sub.names if sub.wildcard else NOTHING
            sub.unsubscribe(dropped)
            self._await(type_url, sub, again)  # whether the star still covers them only we know
        if request.names:
            added = frozenset(request.names)
            if "*" in added and type_url in WILDCARD:
                sub.wildcard = True
                self._await(type_url, sub, self._everything(type_url, sub))
            _subscribe(sub, added - STAR)
            self._await(type_url, sub, added - STAR)

    def _sotw_request(self, type_url: str, sub: Subscription, request: Request) -> None:
        if request.nonce and request.nonce != sub.last_nonce:
            return  # stale: the client has not seen the newest answer yet and will ask again
        anew, wild, names = not request.nonce, sub.wildcard, frozenset(request.names)
        if type_url in WILDCARD:
            sub.legacy = sub.legacy and not names
            sub.wildcard = sub.legacy or "*" in names
            names = names - STAR
        if anew:
            sub.nonces = ()  # what was said before will not be acknowledged
        else:
            sub.acknowledge(request.nonce, request.error)
        added = names if anew else names - sub.names
        if names != sub.names:
            sub.unsubscribe(sub.names - names)
            _subscribe(sub, names)
        if sub.wildcard and (anew or not wild):
            added = self._everything(type_url, sub)
        self._await(type_url, sub, added, owed=anew and bool(sub.wildcard or names))

    def _await(self, type_url: str, sub: Subscription, names: frozenset[str], owed: bool = False) -> None:
        """The client waits for these. Before there is anything to compare with, the first answer is for all names."""
        if self._resources(type_url) is not None:
            sub.awaited = sub.awaited | names if sub.awaited else names
            sub.owed = sub.owed or owed

    def _change(self, type_url: str, sub: Subscription, names: frozenset[str], before: Mapping[str, Resource]) -> None:
        """The content of these is another one."""
        self._hold(type_url, sub, names, before)
        sub.mark_changed(names)

    def _remove(self, type_url: str, sub: Subscription, names: frozenset[str], before: Mapping[str, Resource]) -> None:
        """These are gone. In state of the world nobody is told, but by answers that are complete without them."""
        self._hold(type_url, sub, names, before)
        sub.mark_removed(names)
        if not self._delta and type_url not in WILDCARD:
            sub.removed = NOTHING

    def _hold(self, type_url: str, sub: Subscription, names: frozenset[str], before: Mapping[str, Resource]) -> None:
        """Remember what the client has of these, until it is told: they may go before that."""
        if not self._delta and type_url in WILDCARD:
            has = {name: None if name in sub.awaited else before.get(name) for name in sub.wanted(names)}
            sub.held = {**has, **sub.held}

    def _resources(self, type_url: str) -> Mapping[str, Resource] | None:
        """What there is of a type; None while that is not known."""
        if type_url == SECRET:
            return self._secrets
        return None if self._delivery is None else self._delivery.configuration.get(type_url, _NO_RESOURCES)

    def _everything(self, type_url: str, sub: Subscription) -> frozenset[str]:
        """The names that the client is to have an answer about."""
        if not sub.wildcard or self._delivery is None:
            return sub.names
        names = self._delivery.names(type_url)
        return names | sub.names if sub.names else names

    def take(self) -> list[tuple[str, bytes]]:
        """The responses to send now, in order, each with its type URL. Call after every input."""
        responses: list[tuple[str, bytes]] = []
        for type_url in SENDING:
            sub = self._types.get(type_url)
            if sub is not None and sub.waiting and not sub.nonces:
                responses += [(type_url, response) for response in self._answer(type_url, sub)]
        return responses

    def _answer(self, type_url: str, sub: Subscription) -> Iterator[bytes]:
        resources = self._resources(type_url) or _NO_RESOURCES
        told = sub.awaited | sub.changed if sub.awaited and sub.changed else sub.awaited or sub.changed
        present = _present(told, resources)
        absent = told - present if type_url != SECRET else told & self._absent  # others may come yet
        gone = sub.removed if sub.removed and self._may_remove(type_url) else NOTHING
        owed = sub.owed and type_url != SECRET
        sub.awaited = sub.changed = NOTHING
        sub.removed = sub.removed - gone - absent
        sub.owed = False
        if not (present or absent or gone or owed):
            return
        if type_url == CLUSTER:
            self._endpoints_follow(present)
        if self._delta:
            yield from self._delta_answer(type_url, sub, present, sorted(absent | gone))
        elif type_url in WILDCARD:
            yield sotw_response(type_url, self._sent(sub), self._version(), self._complete(type_url, sub, resources))
        else:
            body = self._body(type_url, present) + (_empty_endpoints(absent) if type_url == ENDPOINTS else b"")
            if body or owed:
                yield sotw_response(type_url, self._sent(sub), self._version(), body)

    def _endpoints_follow(self, upstreams: frozenset[str]) -> None:
        """Envoy warms an upstream that it is sent again until its endpoints come, and does not ask for those it has."""
        sub = self._types.get(ENDPOINTS)
        if sub is not None:
            self._await(ENDPOINTS, sub, sub.wanted(upstreams))
        elif self._delta:
            self._resent = self._resent | upstreams if self._resent else upstreams

    def _may_remove(self, type_url: str) -> bool:
        """Whether the client holds nothing that could name what goes; what it refused it holds as it was before."""
        return all(
            (sub := self._types.get(other)) is None or (sub.idle and not sub.refused)
            for other in REMOVED_AFTER[type_url]
        )

    def _delta_answer(
        self, type_url: str, sub: Subscription, present: frozenset[str], gone: Iterable[str]
    ) -> Iterator[bytes]:
        body = self._body(type_url, present)
        if len(body) <= MAX_RESPONSE_BYTES:
            yield delta_response(type_url, self._sent(sub), self._version(), body, gone)
            return
        parts = list(_parts(present, self._resources(type_url) or _NO_RESOURCES))
        for part in parts[:-1]:
            yield delta_response(type_url, self._sent(sub), self._version(), part, ())
        yield delta_response(type_url, self._sent(sub), self._version(), parts[-1], gone)

    def _complete(self, type_url: str, sub: Subscription, resources: Mapping[str, Resource]) -> bytes:
        """All that the client is to have, with what is to go but may not yet."""
        stays = {name: held for name in sub.removed if (held := sub.held.get(name)) is not None}
        sub.removed, sub.held = sub.removed & stays.keys(), stays  # what it never had need not be taken away
        body = self._body(type_url, _present(self._everything(type_url, sub), resources))
        return body + join(stays.keys(), stays, delta=False) if stays else body

    def _body(self, type_url: str, names: frozenset[str]) -> bytes:
        if type_url == SECRET:
            return join(names, self._secrets or _NO_RESOURCES, self._delta)
        return self._delivery.body(type_url, names, self._delta) if self._delivery is not None else b""

    def _version(self) -> str:
        return str(self._delivery.revision) if self._delivery is not None else "0"

    def _sent(self, sub: Subscription) -> str:
        self._counter += 1
        nonce = f"{self._prefix}{self._counter}"
        sub.sent_as(nonce, self._delivery.revision if self._delivery is not None else 0)
        return nonce


def _subscribe(sub: Subscription, names: frozenset[str]) -> None:
    wanted = sub.names | names if sub.names else names
    if len(wanted) > MAX_NAMES:
        message = f"{len(wanted)} names of one type on one stream, at most {MAX_NAMES} are served"
        raise InvalidInput([Finding(Severity.ERROR, "TooManyNames", "Proxy", "resource_names", message)])
    sub.names = interned(wanted)


def _differing(before: Mapping[str, Resource], now: Mapping[str, Resource]) -> frozenset[str]:
    return frozenset(
        name
        for name, resource in now.items()
        if (old := before.get(name)) is not resource and (old is None or old.version != resource.version)
    )


def _present(names: frozenset[str], resources: Mapping[str, Resource]) -> frozenset[str]:
    """Those of these names that there are; the same object if it is all of them."""
    return names if names <= resources.keys() else frozenset(name for name in names if name in resources)


def _empty_endpoints(upstreams: frozenset[str]) -> bytes:
    """Upstreams without endpoints: state of the world has no other word for absence that ends a client's wait."""
    return b"".join(encode_endpoints(EndpointsSpec(name, ())).sotw for name in sorted(upstreams))


def _parts(names: frozenset[str], resources: Mapping[str, Resource]) -> Iterator[bytes]:
    """The bytes of these resources in pieces of bounded size, though none smaller than one resource."""
    part: list[bytes] = []
    size = 0
    for name in sorted(names):
        frame = resources[name].delta
        if part and size + len(frame) > MAX_RESPONSE_BYTES:
            yield b"".join(part)
            part, size = [], 0
        part.append(frame)
        size += len(frame)
    yield b"".join(part)
