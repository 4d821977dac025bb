"""Istio's certificate service over real gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from federation.model.identity import SpiffeId
from federation.pki.chain import read_certificates, spiffe_identity, verify_chain
from federation.pki.csr import make_csr
from federation.pki.keys import generate_key
from federation.runtime.latest import Latest
from istiod.ca.authn import Authenticator
from istiod.ca.issuer import Issuer
from istiod.ca.schema.ca_pb2 import IstioCertificateRequest, IstioCertificateResponse
from istiod.ca.server import CertificateService, ServerTls

METHOD = "/istio.v1.auth.IstioCertificateService/CreateCertificate"
KEY = generate_key()
Token = Callable[..., str]


@dataclass
class Service:
    """A control plane's two listeners."""

    issuers: Latest[Issuer]
    secure: int
    plain: int

    async def ask(
        self, csr: bytes, token: str = "", seconds: int = 0, plain: bool = False, roots: bytes | None = None
    ) -> list[str]:
        """Ask for a certificate as an Istio agent does."""
        issuer = self.issuers.peek()
        trusted = roots or (issuer.roots_pem if issuer is not None else b"")
        channel = (
            grpc.aio.insecure_channel(f"127.0.0.1:{self.plain}")
            if plain
            else grpc.aio.secure_channel(f"127.0.0.1:{self.secure}", grpc.ssl_channel_credentials(trusted))
        )
        metadata = (("authorization", f"Bearer {token}"), ("clusterid", "elsewhere")) if token else ()
        request = IstioCertificateRequest(csr=csr.decode("latin-1"), validity_duration=seconds)
        async with channel:
            call = channel.unary_unary(
                METHOD, IstioCertificateRequest.SerializeToString, IstioCertificateResponse.FromString
            )
            answer = await call(request, metadata=metadata, timeout=10)
            return list(answer.cert_chain)

    async def refused(self, csr: bytes, **asked: Any) -> tuple[grpc.StatusCode, str]:
        """The status of a refusal."""
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await self.ask(csr, **asked)
        return refused.value.code(), refused.value.details() or ""


@pytest_asyncio.fixture
async def service(make_issuer: Callable[..., Issuer], key_file: Path) -> AsyncIterator[Service]:
    issuers = Latest(make_issuer())
    certificates = CertificateService(issuers, Authenticator(key_file, "west", "west.m1"))
    servers, ports = [], []
    for secure in (True, False):
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers((certificates.handlers(secure),))
        if secure:
            credentials = await ServerTls(issuers, ("istiod.istio-system.svc", "127.0.0.1")).credentials()
            ports.append(server.add_secure_port("127.0.0.1:0", credentials))
        else:
            ports.append(server.add_insecure_port("127.0.0.1:0"))
        await server.start()
        servers.append(server)
    yield Service(issuers, *ports)
    for server in servers:
        await server.stop(None)


def identity(chain: list[str]) -> SpiffeId:
    return spiffe_identity(read_certificates(chain[0].encode())[0])


async def test_an_agent_gets_a_certificate(service: Service, token: Token, now: datetime) -> None:
    chain = await service.ask(make_csr(KEY, uris=("spiffe://west.m1/ns/shop/sa/web",)), token())
    certificates = [read_certificates(pem.encode())[0] for pem in chain]
    assert len(certificates) == 3
    verify_chain(certificates[:-1], certificates[-1:], now)
    assert certificates[0].public_key() == KEY.public_key()
    assert identity(chain) == SpiffeId("west.m1", "shop", "web")


@pytest.mark.parametrize(
    "named",
    ["spiffe://west.m1/ns/kube-system/sa/admin", "spiffe://east.m1/ns/shop/sa/web", "spiffe://west.m1/ns/shop/sa/web2"],
)
async def test_a_request_in_anothers_name_gets_ones_own(service: Service, token: Token, named: str) -> None:
    """The identity comes from the token; nobody gets a certificate for what the request says."""
    chain = await service.ask(make_csr(KEY, "admin", (named,)), token())
    assert identity(chain) == SpiffeId("west.m1", "shop", "web")
    assert not any(named in pem for pem in chain)


async def test_each_caller_has_its_own_identity(service: Service, token: Token) -> None:
    csr = make_csr(KEY)
    assert identity(await service.ask(csr, token("a", "x"))) == SpiffeId("west.m1", "a", "x")
    assert identity(await service.ask(csr, token("b", "y"))) == SpiffeId("west.m1", "b", "y")


async def test_over_plaintext_nobody_gets_one(service: Service, token: Token) -> None:
    for given in (token(), ""):
        code, details = await service.refused(make_csr(KEY), token=given, plain=True)
        assert code is grpc.StatusCode.UNAUTHENTICATED
        assert "over TLS only" in details


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"cluster": "east"}, "is of cluster 'east', this is 'west'"),
        ({"seconds": -3}, "ran out"),
    ],
)
async def test_a_token_that_does_not_hold_gets_none(
    service: Service, token: Token, change: dict[str, Any], reason: str
) -> None:
    code, details = await service.refused(make_csr(KEY), token=token(**change))
    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert reason in details


async def test_without_a_token_nobody_gets_one(service: Service) -> None:
    code, details = await service.refused(make_csr(KEY))
    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert "no credentials" in details
    code, details = await service.refused(make_csr(KEY), token="a.b.c")
    assert (code, details) == (grpc.StatusCode.UNAUTHENTICATED, "the bearer token is damaged")


@pytest.mark.parametrize("csr", [b"", b"garbage", make_csr(KEY)[:-60]])
async def test_a_bad_request_is_the_callers_fault(service: Service, token: Token, csr: bytes) -> None:
    code, details = await service.refused(csr, token=token())
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "InvalidCsr" in details


@pytest.mark.parametrize("seconds", [73 * 3600, 2**63 - 1])
async def test_so_is_too_long_a_life(service: Service, token: Token, seconds: int) -> None:
    code, details = await service.refused(make_csr(KEY), token=token(), seconds=seconds)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "longest lifetime" in details


async def test_the_life_asked_for_is_given(service: Service, token: Token) -> None:
    (leaf,) = read_certificates((await service.ask(make_csr(KEY), token(), seconds=3600))[0].encode())
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == timedelta(hours=1, minutes=2)


async def test_a_ca_that_has_ended_is_tried_again_later(
    service: Service, token: Token, make_issuer: Callable[..., Issuer]
) -> None:
    """The listener goes on with the certificate it has: the CA's end is no end of the control plane."""
    before = service.issuers.peek()
    assert before is not None
    service.issuers.set(make_issuer(ends=timedelta(seconds=-1)))
    code, details = await service.refused(make_csr(KEY), token=token(), roots=before.roots_pem)
    assert code is grpc.StatusCode.UNAVAILABLE
    assert "the CA of this cluster ended at" in details
    fresh = make_issuer()
    service.issuers.set(fresh)
    assert identity(await service.ask(make_csr(KEY), token())) == SpiffeId("west.m1", "shop", "web")


async def test_the_listener_shows_the_new_cas_certificate(
    service: Service, token: Token, make_issuer: Callable[..., Issuer]
) -> None:
    old = service.issuers.peek()
    assert old is not None
    await service.ask(make_csr(KEY), token())
    service.issuers.set(make_issuer())
    await service.ask(make_csr(KEY), token())
    code, _ = await service.refused(make_csr(KEY), token=token(), roots=old.roots_pem)
    assert code is grpc.StatusCode.UNAVAILABLE


async def test_no_certificate_while_there_is_no_ca(key_file: Path, token: Token) -> None:
    certificates = CertificateService(Latest(), Authenticator(key_file, "west", "west.m1"))
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((certificates.handlers(True),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        service = Service(Latest(), port, port)
        code, details = await service.refused(make_csr(KEY), token=token(), plain=True)
    finally:
        await server.stop(None)
    assert (code, details) == (grpc.StatusCode.UNAVAILABLE, "the CA of this cluster cannot be read now")
