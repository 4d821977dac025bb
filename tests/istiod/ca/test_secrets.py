"""What a proxy is given on its own stream, and when again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse

from federation.pki.chain import read_certificates, spiffe_identity
from federation.pki.keys import decode_key
from federation.runtime.latest import Latest
from istiod.ca import secrets
from istiod.ca.issuer import Issuer
from istiod.ca.secrets import CERTIFICATE, ROOTS, SecretProvider
from istiod.encode.resource import SECRET
from istiod.view.proxy import Proxy, ProxyType
from istiod.xds.session import Request
from istiod.xds.stream import Stream

WEB = "spiffe://west.m1/ns/shop/sa/web"
Make = Callable[..., Issuer]
Start = Callable[..., Stream]


def secret(stream: Stream, name: str = CERTIFICATE) -> Secret:
    """The secret of that name that the proxy is to have now; an empty one if there is none."""
    resource = stream.subscribed().get(SECRET, {}).get(name)
    if resource is None:
        return Secret()
    (framed,) = DeltaDiscoveryResponse.FromString(resource.delta).resources
    found = Secret()
    framed.resource.Unpack(found)
    return found


def chain(stream: Stream) -> bytes:
    return secret(stream).tls_certificate.certificate_chain.inline_bytes


async def until(question: Callable[[], object], seconds: float = 15.0) -> None:
    async with asyncio.timeout(seconds):
        while not question():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Start]:
    """A stream of a proxy that asked for its secrets and is served until the test ends; `end` ends it before."""
    tasks: dict[Stream, asyncio.Task[None]] = {}

    def serve(provider: SecretProvider, name: str = "web-1", identity: str = WEB) -> Stream:
        stream = Stream(True, len(tasks))
        stream.proxy = Proxy(name, ProxyType.SIDECAR, name, "shop", "web", "shop.svc.cluster.local", ("10.0.0.1",))
        stream.request(Request(SECRET, (CERTIFICATE, ROOTS)))
        tasks[stream] = asyncio.create_task(provider.serve(stream, identity))
        return stream

    yield serve
    ended = [task for task in tasks.values() if task.done()]
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    assert not ended, "serving secrets lasts as long as the stream"


async def test_a_proxy_gets_key_chain_and_roots(make_issuer: Make, start: Start) -> None:
    issuer = make_issuer()
    stream = start(SecretProvider(Latest(issuer)))
    await until(lambda: chain(stream))
    leaf, intermediate = read_certificates(chain(stream))
    assert str(spiffe_identity(leaf)) == WEB
    assert intermediate == issuer.authority.certificate
    key = decode_key(secret(stream).tls_certificate.private_key.inline_bytes)
    assert key.public_key() == leaf.public_key()
    assert secret(stream, ROOTS).validation_context.trusted_ca.inline_bytes == issuer.roots_pem
    assert stream.certificate_expires == leaf.not_valid_after_utc.timestamp()


async def test_nothing_is_given_while_there_is_no_ca(make_issuer: Make, start: Start) -> None:
    issuers: Latest[Issuer] = Latest()
    stream = start(SecretProvider(issuers))
    await asyncio.sleep(0)
    assert not chain(stream)
    issuers.set(make_issuer())
    await until(lambda: chain(stream))


async def test_the_next_certificate_comes_at_half_life(make_issuer: Make, start: Start) -> None:
    stream = start(SecretProvider(Latest(make_issuer(ttl=timedelta(seconds=4)))))
    await until(lambda: chain(stream))
    first, issued = chain(stream), stream.certificate_issued
    assert issued is not None
    await until(lambda: chain(stream) != first)
    expires = read_certificates(first)[0].not_valid_after_utc.timestamp()
    middle = issued + (expires - issued) / 2
    assert middle - 0.05 <= time.time() < expires
    assert secret(stream).tls_certificate.private_key.inline_bytes
    assert stream.certificate_issued is not None
    assert stream.certificate_issued > issued


async def test_a_quick_reconnect_gets_the_same_certificate(make_issuer: Make, start: Start) -> None:
    provider = SecretProvider(Latest(make_issuer()))
    one, again = start(provider), start(provider)
    await until(lambda: chain(one) and chain(again))
    assert secret(one) == secret(again)


async def test_other_proxies_and_identities_get_their_own(make_issuer: Make, start: Start) -> None:
    provider = SecretProvider(Latest(make_issuer()))
    other = "spiffe://west.m1/ns/shop/sa/other"
    streams = [start(provider), start(provider, "web-2"), start(provider, identity=other)]
    await until(lambda: all(map(chain, streams)))
    assert len(set(map(chain, streams))) == 3
    assert [str(spiffe_identity(read_certificates(chain(s))[0])) for s in streams] == [WEB, WEB, other]


async def test_a_new_ca_is_used_at_once(make_issuer: Make, start: Start) -> None:
    """Also for who comes back: the certificate kept is of the old one."""
    issuers = Latest(make_issuer())
    provider = SecretProvider(issuers)
    stream = start(provider)
    await until(lambda: chain(stream))
    first = chain(stream)
    fresh = make_issuer()
    issuers.set(fresh)
    await until(lambda: chain(stream) != first)
    assert read_certificates(chain(stream))[1] == fresh.authority.certificate
    assert secret(stream, ROOTS).validation_context.trusted_ca.inline_bytes == fresh.roots_pem
    back = start(provider)
    await until(lambda: chain(back))
    assert chain(back) == chain(stream)


async def test_a_ca_that_has_ended_takes_no_stream_down(make_issuer: Make, start: Start) -> None:
    issuers = Latest(make_issuer(ends=timedelta(seconds=-1)))
    stream = start(SecretProvider(issuers))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not chain(stream)
    issuers.set(make_issuer())
    await until(lambda: chain(stream))


async def test_a_ca_about_to_end_is_not_asked_in_a_rush(make_issuer: Make, start: Start, now: datetime) -> None:
    """Every life is half of the last one: renewals must not come faster and faster."""
    issuers = Latest(make_issuer(ends=datetime.now(UTC) - now + timedelta(seconds=3)))
    stream = start(SecretProvider(issuers))
    await until(lambda: chain(stream))
    seen = {chain(stream)}
    ends = read_certificates(chain(stream))[0].not_valid_after_utc.timestamp()

    def over() -> bool:
        seen.add(chain(stream))
        return time.time() > ends + 0.2

    await until(over)
    assert len(seen) <= 5


async def test_what_is_kept_is_bounded(make_issuer: Make, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "KEPT", 2)
    provider = SecretProvider(Latest(make_issuer()))
    streams = [start(provider, f"web-{n}") for n in range(4)]
    await until(lambda: all(map(chain, streams)))
    again = [start(provider, f"web-{n}") for n in (3, 0)]
    await until(lambda: all(map(chain, again)))
    assert chain(again[0]) == chain(streams[3])
    assert chain(again[1]) != chain(streams[0])
