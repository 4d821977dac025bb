"""Tokens of requests (Envoy's jwt_authn)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JwtProvider:
    """One issuer. `keys` is a key set as JSON, "" for no key at all: no token is valid then.

    `from_headers` are (header, prefix), `claim_headers` (header, claim). No place of the token named = Envoy's own:
    `Authorization: Bearer` and the parameter `access_token`.
    """

    issuer: str
    keys: str
    audiences: tuple[str, ...] = ()
    from_headers: tuple[tuple[str, str], ...] = ()
    from_params: tuple[str, ...] = ()
    from_cookies: tuple[str, ...] = ()
    forward: bool = False
    payload_header: str = ""
    claim_headers: tuple[tuple[str, str], ...] = ()
    space_delimited: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JwtSpec:
    """A request may come without a token, unless one is `required`; a token must be valid.

    `reroute` chooses the route anew once the claims are known.
    """

    providers: tuple[JwtProvider, ...]
    reroute: bool = False
    required: bool = False


# Refuses every request, with 401: a token is required, and there is no key that could have signed it.
CLOSED = JwtSpec((JwtProvider("", ""),), required=True)
