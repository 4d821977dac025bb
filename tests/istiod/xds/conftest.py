"""Resources made by hand, and a client that reads what a session says, strictly by the wire format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pytest
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse, DiscoveryResponse

from istiod.encode.resource import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET, Resource, frame_resource
from istiod.xds.delivery import Delivery
from istiod.xds.session import Request, Session

URLS = {"cds": CLUSTER, "eds": ENDPOINTS, "lds": LISTENER, "rds": ROUTES, "sds": SECRET}
SHORT = {url: name for name, url in URLS.items()}
Content = Mapping[str, Mapping[str, str]]  # short type -> name -> content


def resource(kind: str, name: str, content: str) -> Resource:
    return frame_resource(URLS[kind], name, f"{name}={content}".encode())


def configuration(content: Content) -> dict[str, dict[str, Resource]]:
    return {
        URLS[kind]: {name: resource(kind, name, text) for name, text in items.items()}
        for kind, items in content.items()
    }


def delivery(before: Content, after: Content, revision: int) -> Delivery:
    """The difference of two contents, as the pipeline is to compute it."""
    changed, removed = {}, {}
    for kind in {*before, *after}:
        old, new = before.get(kind, {}), after.get(kind, {})
        if fresh := frozenset(n for n in new if old.get(n) != new[n]):
            changed[URLS[kind]] = fresh
        if gone := frozenset(old.keys() - new.keys()):
            removed[URLS[kind]] = gone
    return Delivery(configuration(after), changed, removed, revision)


@dataclass
class Said:
    """One response as a client sees it: contents by name (state of the world: whatever names them), and names
    removed.
    """

    kind: str
    nonce: str
    resources: dict[str, str]
    removed: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        gone = "".join(f" -{name}" for name in self.removed)
        return f"{self.kind}:" + "".join(f" {k}={v}" for k, v in sorted(self.resources.items())) + gone


def read(raw: bytes, delta: bool) -> Said:
    if delta:
        said = DeltaDiscoveryResponse.FromString(raw)
        for item in said.resources:
            assert item.resource.type_url == said.type_url
        found = {item.name: item.resource.value for item in said.resources}
        versions = {item.name: item.version for item in said.resources}
        return Said(SHORT[said.type_url], said.nonce, _texts(found), tuple(said.removed_resources), versions)
    sotw = DiscoveryResponse.FromString(raw)
    bodies = {item.value.decode(errors="replace").partition("=")[0]: item.value for item in sotw.resources}
    assert all(item.type_url == sotw.type_url for item in sotw.resources)
    return Said(SHORT[sotw.type_url], sotw.nonce, _texts(bodies))


def _texts(bodies: Mapping[str, bytes]) -> dict[str, str]:
    return {name: body.decode(errors="replace").partition("=")[2] for name, body in bodies.items()}


class Talk:
    """A script of one stream: what goes in, what comes out."""

    def __init__(self, delta: bool) -> None:
        self.session = Session(delta)
        self.delta = delta
        self.content: Content = {}
        self.revision = 0
        self.last: dict[str, str] = {}  # newest nonce by type

    def out(self) -> list[Said]:
        said = [read(raw, self.delta) for _, raw in self.session.take()]
        self.last |= {item.kind: item.nonce for item in said}
        return said

    def texts(self) -> list[str]:
        return [str(item) for item in self.out()]

    def serve(self, **content: Mapping[str, str]) -> list[str]:
        """The whole configuration is this now."""
        self.session.on_delivery(self.next(**content))
        return self.texts()

    def next(self, **content: Mapping[str, str]) -> Delivery:
        """The way from the configuration before to this one."""
        self.revision += 1
        before, self.content = self.content, content
        return delivery(before, content, self.revision)

    def other_class(self, **content: Mapping[str, str]) -> list[str]:
        """The proxy moves to a class with this configuration."""
        self.revision += 1
        self.session.on_other_class(delivery({}, content, self.revision))
        self.content = content
        return self.texts()

    def secrets(self, **content: str) -> list[str]:
        """The proxy's own secrets are these now."""
        self.session.on_secrets({name: resource("sds", name, text) for name, text in content.items()})
        return self.texts()

    def ask(
        self, kind: str, *names: str, drop: Iterable[str] = (), has: Content | None = None, **more: str
    ) -> list[str]:
        """A request; `has` is what a reconnecting client has of this type."""
        held = None if has is None else {n: resource(kind, n, text).version for n, text in has[kind].items()}
        self.session.on_request(Request(URLS[kind], names, tuple(drop), held, **more))
        return self.texts()

    def ack(self, kind: str, *names: str, error: str = "", nonce: str = "") -> list[str]:
        """Acknowledge, or refuse, the newest response of a type. State of the world repeats the names."""
        return self.ask(kind, *names, nonce=nonce or self.last[kind], error=error)


@pytest.fixture
def delta() -> Talk:
    return Talk(delta=True)


@pytest.fixture
def sotw() -> Talk:
    return Talk(delta=False)
