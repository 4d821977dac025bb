"""Asks control planes over HTTP or their unix sockets. Owns addresses, deadlines and sizes; judges nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, TypeVar

import aiohttp
import msgspec
import typer

from federation.model.errors import InvalidInput, Unavailable
from federation.model.findings import Finding, Severity
from istiod.debug.report import ConfigReport, IstiodReport

T = TypeVar("T")
DEFAULT = "http://127.0.0.1:8080"
MAX_ANSWER_BYTES = 256 << 20
ASK_SECONDS = 10.0
Istiods = Annotated[
    list[str],
    typer.Option(
        "--istiod",
        envvar="ISTHMUS_ISTIOD",
        help="HTTP of a control plane, http://host:port or unix:/path; may be repeated (in the environment: spaces).",
    ),
]


async def ask_all(addresses: Iterable[str], seconds: float = ASK_SECONDS) -> dict[str, IstiodReport | Unavailable]:
    """The report of each control plane, or why there is none, by address. Raises InvalidInput for a wrong address."""
    wanted = tuple(dict.fromkeys(addresses))
    for address in wanted:
        check_address(address)
    found = await asyncio.gather(*(_report(address, seconds) for address in wanted))
    return dict(zip(wanted, found, strict=True))


async def _report(address: str, seconds: float) -> IstiodReport | Unavailable:
    try:
        return await ask(address, "status", {}, IstiodReport, seconds)
    except Unavailable as error:
        return error


async def ask_config(address: str, proxy: str, kind: str, seconds: float = ASK_SECONDS) -> ConfigReport:
    """What one control plane gives a proxy; raises InvalidInput if it knows no such proxy."""
    return await ask(address, "config", {"proxy": proxy, "type": kind}, ConfigReport, seconds)


async def ask(
    address: str, view: str, parameters: Mapping[str, str], kind: type[T], seconds: float, body: bytes | None = None
) -> T:
    """One debug view as a value; with a body (JSON) it is asked by POST. Raises Unavailable, or InvalidInput if the
    other side finds the question wrong.
    """
    status, found = await _fetch(address, f"/debug/{view}", parameters, seconds, body)
    return _decoded(address, view, status, found, kind)


async def ask_admin(address: str, path: str, seconds: float = ASK_SECONDS) -> Any:
    """An answer of Envoy's admin interface as plain data; raises Unavailable."""
    status, found = await _fetch(address, path, {}, seconds)
    if status != 200:
        raise Unavailable(f"{address} answers {status} to {path}: is it Envoy's admin interface?")
    try:
        return msgspec.json.decode(found)
    except msgspec.DecodeError as error:
        raise Unavailable(f"{address} answers {path} with no JSON: {error}") from error


async def _fetch(
    address: str, path: str, parameters: Mapping[str, str], seconds: float, body: bytes | None = None
) -> tuple[int, bytes]:
    """Status and body of one answer."""
    check_address(address)
    base = "http://localhost" if address.startswith("unix:") else address.rstrip("/")
    connector = aiohttp.UnixConnector(address.removeprefix("unix:")) if address.startswith("unix:") else None
    try:
        async with (
            asyncio.timeout(seconds),
            aiohttp.ClientSession(connector=connector) as session,
            _asked(session, f"{base}{path}", parameters, body) as response,
        ):
            return response.status, await _read(response)
    except TimeoutError as error:
        raise Unavailable(f"{address} does not answer within {seconds:g} s") from error
    except aiohttp.ClientConnectorError as error:
        raise Unavailable(f"{address} cannot be reached: {error.os_error.strerror or error}") from error
    except (aiohttp.ClientError, OSError) as error:
        raise Unavailable(f"{address} cannot be reached: {error}") from error


def _asked(
    session: aiohttp.ClientSession, url: str, parameters: Mapping[str, str], body: bytes | None
) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
    if body is None:
        return session.get(url, params=parameters)
    return session.post(url, params=parameters, data=body, headers={"content-type": "application/json"})


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(1 << 20):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise aiohttp.ClientPayloadError(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
    return bytes(body)


class _Error(msgspec.Struct):
    error: str


def _decoded(address: str, view: str, status: int, body: bytes, kind: type[T]) -> T:
    try:
        if status == 413:
            raise _wrong(address, "takes no question of this size", "ask about fewer objects at once (4 MiB)")
        if status == 400:
            raise _wrong(address, msgspec.json.decode(body, type=_Error).error)
        if status != 200:
            raise Unavailable(f"{address} answers {status} to /debug/{view}: is it an istiod of this version?")
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise Unavailable(f"{address} answers /debug/{view} in words not known here: {error}") from error


def check_address(address: str) -> None:
    """Raise InvalidInput unless it is `http://…`, `https://…` or `unix:/path`."""
    if not address.startswith(("http://", "https://", "unix:/")):
        raise _wrong("--istiod", f"{address!r} is no address", "e.g. http://127.0.0.1:8080 or unix:/run/istiod.sock")


def _wrong(place: str, message: str, fix: str = "") -> InvalidInput:
    return InvalidInput([Finding(Severity.ERROR, "InvalidQuery", place, "", message, fix)])
