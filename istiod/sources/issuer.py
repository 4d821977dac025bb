"""Asks a token issuer for its keys, over HTTP: one question, one answer or a reason.

Owns what is believed of an answer: certificates by the roots of this system, no redirect to another scheme (plain HTTP
only where the user wrote it), a bound on its size. Knows nothing of when to ask again (`istiod.sources.keysets`).
Rules: RFC 7517 (key sets), OpenID Connect Discovery 1.0, section 4.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
from yarl import URL

from federation.model.errors import Unavailable
from istiod.api.jwks import KeySet, KeySource, parse_key_set, url_problem

DISCOVERY = "/.well-known/openid-configuration"
MAX_BYTES = 1 << 20
MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


def open_session() -> aiohttp.ClientSession:
    """A client without cookies and without compression, whose expanded size nobody could bound."""
    return aiohttp.ClientSession(
        headers={"accept": "application/json", "accept-encoding": "identity", "user-agent": "isthmus"},
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),  # each question has its own
    )


async def fetch_keys(session: aiohttp.ClientSession, source: KeySource, seconds: float) -> KeySet:
    """The key set of a source, within `seconds` in all; raises Unavailable with the reason."""
    try:
        async with asyncio.timeout(seconds):
            uri = await _discover(session, source.uri) if source.discovery else URL(source.uri)
            text = await _get(session, uri)
    except TimeoutError:
        raise Unavailable(f"no answer within {seconds:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as wrong:
        raise Unavailable(str(wrong) or type(wrong).__name__) from None
    try:
        return parse_key_set(text)
    except ValueError as wrong:
        raise Unavailable(f"the answer {wrong}") from None


async def _discover(session: aiohttp.ClientSession, issuer: str) -> URL:
    """The address of the keys, as the issuer's OpenID configuration has it."""
    text = await _get(session, URL(issuer.removesuffix("/") + DISCOVERY))
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    uri = found.get("jwks_uri") if isinstance(found, dict) else None
    if not isinstance(uri, str) or url_problem(uri):
        raise Unavailable("its OpenID configuration names no jwks_uri")
    return _same_scheme(URL(issuer), URL(uri), "its OpenID configuration leads")


async def _get(session: aiohttp.ClientSession, url: URL) -> str:
    for _ in range(MAX_REDIRECTS + 1):
        async with session.get(url, allow_redirects=False) as answer:
            if answer.status == 200:
                return await _text(answer)
            if answer.status not in _REDIRECTS:
                raise Unavailable(f"answers {answer.status}")
            url = _same_scheme(url, url.join(URL(answer.headers.get("location", ""))), "it redirects")
    raise Unavailable(f"redirects more than {MAX_REDIRECTS} times")


async def _text(answer: aiohttp.ClientResponse) -> str:
    body = bytearray()
    async for chunk in answer.content.iter_chunked(1 << 16):
        body += chunk
        if len(body) > MAX_BYTES:
            raise Unavailable(f"answers with more than {MAX_BYTES} bytes")
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise Unavailable("the answer is no text") from None


def _same_scheme(here: URL, there: URL, leads: str) -> URL:
    """`there`; what was asked by https is never taken from http."""
    if there.scheme != here.scheme:
        raise Unavailable(f"{leads} from {here.scheme} to {there.scheme or 'nowhere'}")
    return there
