"""What becomes of a request's tokens (Envoy's jwt_authn), as far as it can be told without their issuers. Pure.

Signatures are not checked: whoever asks may want to try a token that nobody signed. Everything else is: place, issuer,
audience, validity, and whether there are keys of the issuer at all. Rules: `istiod.encode.jwt`.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from istiod.resolve.specs.jwt import JwtProvider, JwtSpec
from istiod.why.request import Request

BEARER = "Bearer "
PARAMETER = "access_token"
LEEWAY = 60.0  # seconds, Envoy's clock skew


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the request passes, why, and the claims that it then has (of the token whose issuer is `issuer`); if not,
    the status that it gets.
    """

    passes: bool
    said: str
    issuer: str = ""
    status: int = 401
    claims: Mapping[str, Any] = field(default_factory=dict)


def judge_tokens(spec: JwtSpec, request: Request, now: float) -> Verdict:
    """What the filter says; `now` in Unix seconds."""
    if request.is_preflight and not spec.required:
        return Verdict(True, "is not asked for a token, being a CORS preflight")
    found = [_judge(provider, request, now) for provider in spec.providers]
    good = next((verdict for verdict in found if verdict is not None and verdict.passes), None)
    if good is not None:
        return good
    bad = next((verdict for verdict in found if verdict is not None), None)
    if bad is not None:
        return bad
    if spec.required:
        return Verdict(False, "has no token, and one is required")
    return Verdict(True, "has no token, which is allowed")


def _judge(provider: JwtProvider, request: Request, now: float) -> Verdict | None:
    """The verdict on the token that stands where this issuer's stands; None if there is none."""
    token = next(_tokens(provider, request), None)
    if token is None:
        return None
    claims = _claims(token)
    if claims is None:
        return Verdict(False, "has something that is no token where one is looked for")
    if claims.get("iss", "") != provider.issuer:
        return Verdict(False, f"has a token of issuer {str(claims.get('iss', ''))[:100]!r}, not {provider.issuer!r}")
    if not provider.keys:
        return Verdict(False, f"has a token of {provider.issuer!r}, whose keys are not known", provider.issuer)
    expires, begins = claims.get("exp"), claims.get("nbf")
    if isinstance(expires, int | float) and expires + LEEWAY < now:
        return Verdict(False, f"has a token that expired {now - expires:.0f} s ago", provider.issuer)
    if isinstance(begins, int | float) and begins - LEEWAY > now:
        return Verdict(False, "has a token that is not valid yet", provider.issuer)
    said = claims.get("aud", [])
    audiences = set(said if isinstance(said, list) else [said])
    if provider.audiences and audiences.isdisjoint(provider.audiences):
        said_whom = ", ".join(map(str, audiences)) or "nobody"
        return Verdict(False, f"has a token for {said_whom}, and not for us", provider.issuer, 403)
    words = {key: claims[key].split() for key in provider.space_delimited if isinstance(claims.get(key), str)}
    said_well = f"has a token of {provider.issuer!r} (its signature is not checked here)"
    return Verdict(True, said_well, provider.issuer, claims={**claims, **words})


def _tokens(provider: JwtProvider, request: Request) -> Iterator[str]:
    default = not (provider.from_headers or provider.from_params or provider.from_cookies)
    for name, prefix in provider.from_headers or ((("authorization", BEARER),) if default else ()):
        value = request.header(name.lower())
        if value is not None and value.startswith(prefix):
            yield value.removeprefix(prefix).strip()
    parameters = dict(reversed(parse_qsl(request.query)))
    for name in provider.from_params or ((PARAMETER,) if default else ()):
        if name in parameters:
            yield parameters[name]
    pairs = [part.strip().partition("=") for part in (request.header("cookie") or "").split(";")]
    cookies = {name: value for name, _, value in reversed(pairs)}
    yield from (cookies[name] for name in provider.from_cookies if name in cookies)


def _claims(token: str) -> dict[str, Any] | None:
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        payload = urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        return msgspec.json.decode(payload, type=dict[str, Any])
    except (ValueError, msgspec.MsgspecError):
        return None
