"""Responses as bytes, around resources that are bytes already. Field numbers: envoy.service.discovery.v3."""

from __future__ import annotations

from collections.abc import Iterable

from istiod.encode.resource import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, SECRET, varint


def delta_response(type_url: str, nonce: str, version: str, body: bytes, removed: Iterable[str]) -> bytes:
    """A DeltaDiscoveryResponse; `body` is joined field 2."""
    gone = b"".join([_text(6, name) for name in removed])
    return b"".join((_text(1, version), body, _URLS[type_url], gone, _text(5, nonce)))


def sotw_response(type_url: str, nonce: str, version: str, body: bytes) -> bytes:
    """A DiscoveryResponse; `body` is joined field 2."""
    return b"".join((_text(1, version), body, _URLS[type_url], _text(5, nonce)))


def _text(number: int, value: str) -> bytes:
    raw = value.encode()
    return bytes((number << 3 | 2,)) + varint(len(raw)) + raw


_URLS = {url: _text(4, url) for url in (CLUSTER, ENDPOINTS, LISTENER, ROUTES, EXTENSION, SECRET)}
