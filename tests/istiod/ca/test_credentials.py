"""Secrets on streams: to whom they go, when they change, and what is never taken back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse

from federation.model.names import NamespacedName
from federation.runtime.latest import Latest
from istiod.api.meshconfig import MeshConfig
from istiod.api.parse import parse_documents
from istiod.ca.credentials import CredentialProvider
from istiod.encode.resource import SECRET
from istiod.snapshot import Snapshot
from istiod.view.proxy import Proxy, ProxyType
from istiod.xds.session import Request
from istiod.xds.stream import Stream

EDGE = "spiffe://west.m1/ns/edge/sa/gateway"
NAME = "kubernetes://web"


def world(*texts: str) -> Snapshot:
    parsed = parse_documents("\n---\n".join(texts), "f.yaml")
    assert not parsed.findings
    table = {item.meta.key: item for item in parsed.objects}
    return Snapshot(1, MeshConfig(), {}, {}, {}, {}, (), {"Secret": table})


def chain(stream: Stream, name: str = NAME) -> str:
    """The certificates that the proxy is to have now; empty if none."""
    resource = stream.subscribed().get(SECRET, {}).get(name)
    if resource is None:
        return ""
    (framed,) = DeltaDiscoveryResponse.FromString(resource.delta).resources
    secret = Secret()
    framed.resource.Unpack(secret)
    return secret.tls_certificate.certificate_chain.inline_bytes.decode()


class Scene:
    """A provider that runs, and streams that it serves."""

    def __init__(self) -> None:
        self.snapshots: Latest[Snapshot] = Latest()
        self.granted: frozenset[NamespacedName] = frozenset()
        self.provider = CredentialProvider(self.snapshots, lambda _, __: self.granted)
        self.tasks = [asyncio.create_task(self.provider.run())]

    def stream(self, *names: str, identity: str = EDGE, namespace: str = "edge") -> Stream:
        made = Stream(True, len(self.tasks))
        domain = f"{namespace}.svc.cluster.local"
        made.proxy = Proxy("gw-1", ProxyType.ROUTER, "gw-1", namespace, "gateway", domain, ("10.0.0.1",))
        if names:
            made.request(Request(SECRET, names))
        self.tasks.append(asyncio.create_task(self.provider.serve(made, identity)))
        return made


async def turns(count: int = 20) -> None:
    """Let the tasks do what they can."""
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    yield made
    ended = [task for task in made.tasks if task.done()]
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)
    assert not ended, "serving lasts as long as the stream"


async def test_a_secret_comes_changes_and_stays(scene: Scene, credential: Callable[..., Any]) -> None:
    one, two = credential("one.test"), credential("two.test")
    stream = scene.stream(NAME)
    await turns()
    scene.snapshots.set(world())
    await turns()
    assert not chain(stream)
    (told,) = await stream.outgoing()
    assert list(DeltaDiscoveryResponse.FromString(told).removed_resources) == [NAME]
    stream.request(Request(SECRET, nonce="1-1"))
    scene.snapshots.set(world(one.secret("web", "edge")))
    await turns()
    assert chain(stream) == one.chain
    assert len(await stream.outgoing()) == 1
    stream.request(Request(SECRET, nonce="1-2"))
    scene.snapshots.set(world(two.secret("web", "edge")))
    await turns()
    assert chain(stream) == two.chain
    assert len(await stream.outgoing()) == 1


async def test_the_same_content_is_not_sent_again(scene: Scene, credential: Callable[..., Any]) -> None:
    one = credential("one.test")
    stream = scene.stream(NAME)
    scene.snapshots.set(world(one.secret("web", "edge")))
    await turns()
    assert len(await stream.outgoing()) == 1
    stream.request(Request(SECRET, nonce="1-1"))
    scene.snapshots.set(world(one.secret("web", "edge"), one.secret("more", "edge")))
    await turns()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(stream.outgoing(), 0.05)


async def test_what_is_asked_for_later_comes_too(scene: Scene, credential: Callable[..., Any]) -> None:
    scene.snapshots.set(world(credential("one.test").secret("web", "edge")))
    stream = scene.stream()
    await turns()
    assert not stream.subscribed()
    stream.request(Request(SECRET, ("default",)))
    await turns()
    stream.request(Request(SECRET, (NAME,)))
    await turns()
    assert chain(stream)


async def test_the_proven_namespace_counts_not_the_claimed_one(scene: Scene, credential: Callable[..., Any]) -> None:
    scene.snapshots.set(world(credential("one.test").secret("web", "edge")))
    names = (NAME, "kubernetes://edge/web", "kubernetes-gateway://edge/web")
    thief = scene.stream(*names, identity="spiffe://west.m1/ns/other/sa/gateway", namespace="edge")
    owner = scene.stream(*names)
    await turns()
    assert [bool(chain(thief, name)) for name in names] == [False, False, False]
    assert [bool(chain(owner, name)) for name in names] == [True, True, False]


async def test_a_grant_that_comes_and_goes(scene: Scene, credential: Callable[..., Any]) -> None:
    one, two = credential("one.test"), credential("two.test")
    name = "kubernetes-gateway://other/web"
    stream = scene.stream(name)
    scene.granted = frozenset({NamespacedName("other", "web")})
    scene.snapshots.set(world(one.secret("web", "other")))
    await turns()
    assert chain(stream, name) == one.chain
    scene.granted = frozenset()
    scene.snapshots.set(world(two.secret("web", "other")))
    await turns()
    assert not chain(stream, name)


async def test_one_kind_of_secrets_leaves_the_other_alone(scene: Scene, credential: Callable[..., Any]) -> None:
    from istiod.encode.secrets import encode_certificate

    one = credential("one.test")
    stream = scene.stream(NAME, "default")
    stream.secrets({"default": encode_certificate("default", b"key", b"own chain")})
    scene.snapshots.set(world(one.secret("web", "edge")))
    await turns()
    assert (chain(stream), chain(stream, "default")) == (one.chain, "own chain")
    stream.secrets({"default": encode_certificate("default", b"key", b"next chain")})
    assert (chain(stream), chain(stream, "default")) == (one.chain, "next chain")


async def test_a_stream_that_ends_is_forgotten(scene: Scene, credential: Callable[..., Any]) -> None:
    stream = scene.stream(NAME)
    scene.snapshots.set(world())
    await turns()
    task = scene.tasks.pop()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    scene.snapshots.set(world(credential("one.test").secret("web", "edge")))
    await turns()
    assert not chain(stream)
