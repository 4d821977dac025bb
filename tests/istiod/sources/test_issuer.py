"""Asking an issuer for its keys: a real server, and everything that it may answer."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from federation.model.errors import Unavailable
from federation.pki.issue import make_root, pem_of, sign_server
from federation.pki.keys import encode_key, generate_key
from istiod.api.jwks import KeySource, parse_key_set
from istiod.sources.issuer import MAX_BYTES, fetch_keys, open_session
from tests.istiod.sources.conftest import Server

KEYS = '{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}'


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session() as made:
        yield made


async def reason(session: aiohttp.ClientSession, source: KeySource, seconds: float = 3.0) -> str:
    with pytest.raises(Unavailable) as caught:
        await fetch_keys(session, source, seconds)
    return str(caught.value)


async def test_keys_at_an_address(server: Server, session: aiohttp.ClientSession) -> None:
    server.text("/keys", KEYS)
    assert await fetch_keys(session, KeySource(server.url("/keys")), 3.0) == parse_key_set(KEYS)


@pytest.mark.parametrize("slash", ["", "/"])
async def test_keys_of_an_issuer(server: Server, session: aiohttp.ClientSession, slash: str) -> None:
    server.text("/me/.well-known/openid-configuration", f'{{"jwks_uri": "{server.url("/keys")}"}}')
    server.text("/keys", KEYS)
    assert await fetch_keys(session, KeySource(server.url(f"/me{slash}"), True), 3.0) == parse_key_set(KEYS)
    assert server.asked == ["/me/.well-known/openid-configuration", "/keys"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{}", "its OpenID configuration names no jwks_uri"),
        ("no json", "its OpenID configuration names no jwks_uri"),
        ("[" * 100_000, "its OpenID configuration names no jwks_uri"),
        ('{"jwks_uri": ["a"]}', "its OpenID configuration names no jwks_uri"),
        ('{"jwks_uri": "file:///etc/passwd"}', "its OpenID configuration names no jwks_uri"),
        ('{"jwks_uri": "https://a/keys"}', "its OpenID configuration leads from http to https"),
    ],
)
async def test_configuration_that_leads_nowhere(
    server: Server, session: aiohttp.ClientSession, body: str, said: str
) -> None:
    server.text("/.well-known/openid-configuration", body)
    assert await reason(session, KeySource(server.url(), True)) == said


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "the answer is no JSON"),
        ("<html>", "the answer is no JSON"),
        ("{}", 'the answer is no key set: {"keys": [...]}'),
        ('{"keys":[1]}', "the answer key 0 of the set has no type (kty)"),
        (b"\xff\xfe", "the answer is no text"),
        (b" " * MAX_BYTES + KEYS.encode(), f"answers with more than {MAX_BYTES} bytes"),
    ],
)
async def test_answers_that_are_no_keys(
    server: Server, session: aiohttp.ClientSession, body: str | bytes, said: str
) -> None:
    server.text("/keys", body)
    assert await reason(session, KeySource(server.url("/keys"))) == said


async def test_largest_answer(server: Server, session: aiohttp.ClientSession) -> None:
    server.text("/keys", " " * (MAX_BYTES - len(KEYS)) + KEYS)
    assert await fetch_keys(session, KeySource(server.url("/keys")), 3.0) == parse_key_set(KEYS)


async def test_endless_answer_is_cut(server: Server, session: aiohttp.ClientSession) -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            await answer.write(b" " * 65_536)
            sent += 65_536

    server.answers["/keys"] = endless
    assert await reason(session, KeySource(server.url("/keys"))) == f"answers with more than {MAX_BYTES} bytes"
    assert sent < 20 * MAX_BYTES


async def test_packed_answer_is_not_unpacked(server: Server, session: aiohttp.ClientSession) -> None:
    server.text("/keys", b"\x1f\x8b garbage", **{"content-encoding": "gzip"})
    assert await reason(session, KeySource(server.url("/keys"))) == "the answer is no text"


@pytest.mark.parametrize("status", [204, 304, 401, 404, 500, 503])
async def test_other_answers(server: Server, session: aiohttp.ClientSession, status: int) -> None:
    server.text("/keys", "" if status in (204, 304) else KEYS, status)
    assert await reason(session, KeySource(server.url("/keys"))) == f"answers {status}"


async def test_redirects(server: Server, session: aiohttp.ClientSession) -> None:
    for step in range(3):
        server.text(f"/{step}", "", 302, location=f"/{step + 1}")
    server.text("/3", KEYS)
    assert await fetch_keys(session, KeySource(server.url("/0")), 3.0) == parse_key_set(KEYS)
    server.text("/before", "", 307, location="/0")
    assert await reason(session, KeySource(server.url("/before"))) == "redirects more than 3 times"
    server.text("/other", "", 301, location=server.url("/3", "https"))
    assert await reason(session, KeySource(server.url("/other"))) == "it redirects from http to https"
    server.text("/file", "", 301, location="file:///etc/passwd")
    assert await reason(session, KeySource(server.url("/file"))) == "it redirects from http to file"


async def test_silent_server(server: Server, session: aiohttp.ClientSession) -> None:
    async def never(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    server.answers["/keys"] = never
    assert await reason(session, KeySource(server.url("/keys")), 0.05) == "no answer within 0.05 s"


async def test_nobody_there(server: Server, session: aiohttp.ClientSession) -> None:
    await server.stop()
    assert "Connect call failed" in await reason(session, KeySource(server.url("/keys")))


@pytest.fixture
async def tls_server(tmp_path: Path, server: Server) -> AsyncIterator[tuple[Server, Path]]:
    """A server with a certificate of a CA of its own, and that CA's file."""
    key, now = generate_key(), datetime.now(UTC)
    root = make_root("root", now)
    chain = sign_server(root, key.public_key(), ("127.0.0.1",), timedelta(days=1), now)
    (tmp_path / "server.pem").write_bytes(chain + encode_key(key))
    (tmp_path / "root.pem").write_bytes(pem_of(root.certificate))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "server.pem")
    made = Server()
    await made.start(context)
    yield made, tmp_path / "root.pem"
    await made.stop()


async def test_stranger_s_certificate(tls_server: tuple[Server, Path], session: aiohttp.ClientSession) -> None:
    server, _ = tls_server
    server.text("/keys", KEYS)
    assert "CERTIFICATE_VERIFY_FAILED" in await reason(session, KeySource(server.url("/keys", "https")))
    assert server.asked == []


async def test_https_never_falls_to_http(server: Server, tls_server: tuple[Server, Path]) -> None:
    secure, root = tls_server
    server.text("/keys", KEYS)
    secure.text("/keys", "", 302, location=server.url("/keys"))
    secure.text("/.well-known/openid-configuration", f'{{"jwks_uri": "{server.url("/keys")}"}}')
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(root)))
    async with aiohttp.ClientSession(connector=connector) as trusting:
        secure.text("/good", KEYS)
        assert await fetch_keys(trusting, KeySource(secure.url("/good", "https")), 3.0) == parse_key_set(KEYS)
        said = await reason(trusting, KeySource(secure.url("/keys", "https")))
        assert said == "it redirects from https to http"
        said = await reason(trusting, KeySource(secure.url("", "https"), True))
        assert said == "its OpenID configuration leads from https to http"
    assert server.asked == []
