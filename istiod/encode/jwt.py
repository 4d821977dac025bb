"""Tokens -> jwt_authn, and tests of their claims.

Owns where claims stand between filters: dynamic metadata of the filter's name, under `payload` (Istio's place, which
authorization reads as well).
"""

from __future__ import annotations

from envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import (
    JwtAuthentication,
    JwtRequirement,
)
from envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import (
    JwtProvider as EnvoyProvider,
)
from envoy.type.matcher.v3.metadata_pb2 import MetadataMatcher
from envoy.type.matcher.v3.value_pb2 import ValueMatcher

from istiod.encode.wire import string_matcher
from istiod.resolve.specs.jwt import JwtProvider, JwtSpec
from istiod.resolve.specs.match import ClaimMatch, MatchKind, StringMatch

JWT_FILTER = "envoy.filters.http.jwt_authn"
PAYLOAD = "payload"


def jwt_authentication(spec: JwtSpec) -> JwtAuthentication:
    """The filter's configuration. Providers are `origins-<i>` in the order of the spec."""
    result = JwtAuthentication()
    rule = result.rules.add()
    rule.match.prefix = "/"
    result.bypass_cors_preflight = not spec.required
    names = [f"origins-{index}" for index in range(len(spec.providers))]
    for name, provider in zip(names, spec.providers, strict=True):
        _provider(result.providers[name], provider, spec.reroute)
    _requirement(rule.requires, names, spec.required)
    return result


def _requirement(result: JwtRequirement, names: list[str], required: bool) -> None:
    """One issuer: its token or none. Several: a token of any of them; or, as each may look at another place of the
    request, in every place a valid token or none.
    """
    if required and len(names) == 1:
        result.provider_name = names[0]
        return
    if len(names) == 1:
        _valid_or_missing(result, names[0])
        return
    either = result.requires_any.requirements
    for name in names:
        either.add(provider_name=name)
    if required:
        return
    every = either.add().requires_all.requirements
    for name in names:
        _valid_or_missing(every.add(), name)


def _valid_or_missing(result: JwtRequirement, name: str) -> None:
    result.requires_any.requirements.add(provider_name=name)
    result.requires_any.requirements.add().allow_missing.SetInParent()


def _provider(result: EnvoyProvider, spec: JwtProvider, reroute: bool) -> None:
    result.issuer = spec.issuer
    result.audiences.extend(spec.audiences)
    result.local_jwks.inline_string = spec.keys
    result.forward = spec.forward
    result.forward_payload_header = spec.payload_header
    result.payload_in_metadata = PAYLOAD
    result.normalize_payload_in_metadata.space_delimited_claims.extend(spec.space_delimited)
    result.clear_route_cache = reroute
    for name, prefix in spec.from_headers:
        result.from_headers.add(name=name, value_prefix=prefix)
    result.from_params.extend(spec.from_params)
    result.from_cookies.extend(spec.from_cookies)
    for header, claim in spec.claim_headers:
        result.claim_to_headers.add(header_name=header, claim_name=claim)


def claim_matcher(spec: ClaimMatch) -> MetadataMatcher:
    """A condition on a claim, which may be a text or a list that has it."""
    result = MetadataMatcher(filter=JWT_FILTER, invert=spec.invert)
    for key in (PAYLOAD, *spec.claim):
        result.path.add(key=key)
    value = _value(spec.match)
    result.value.or_match.value_matchers.add().list_match.one_of.CopyFrom(value)
    result.value.or_match.value_matchers.append(value)
    return result


def _value(match: StringMatch) -> ValueMatcher:
    if match.kind is MatchKind.PRESENT:
        return ValueMatcher(present_match=True)
    return ValueMatcher(string_match=string_matcher(match))
