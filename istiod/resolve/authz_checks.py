"""CUSTOM policies -> the server that is asked. One that cannot be found denies what it was to decide on, and so do
several for one workload: the reference allows one, and which of them should decide is not known.

Input: policies that hold for a view, MeshConfig's extension providers, the services of the view's scope. Rules: Istio's
AuthorizationPolicy (`CUSTOM`) and extension providers `envoyExtAuthzHttp`, `envoyExtAuthzGrpc`; a server of the first
kind is not asked about connections without HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pydantic.alias_generators import to_camel

from federation.model.findings import Finding, Severity
from istiod.api.authorization_servers import ExtAuthzGrpc, ExtAuthzHttp, check_server
from istiod.api.authorizationpolicy import AuthorizationPolicy
from istiod.api.meta import Object
from istiod.api.providers import kind_of
from istiod.resolve.authz_rules import PolicyRules, policy_rules, text_match
from istiod.resolve.provider_upstreams import ProviderUpstream, find_upstream
from istiod.resolve.scope import scope_of
from istiod.resolve.specs.authz import (
    BodySpec,
    CheckSpec,
    GrpcServer,
    HttpServer,
    RbacSpec,
    RuleSet,
    RuleSpec,
    Verdict,
)
from istiod.resolve.specs.match import StringMatch
from istiod.resolve.trust import trust_domains
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyType, ProxyView

MARK = "istio-ext-authz"
SHADOW_PREFIX = "istio_ext_authz_"
DENIED = "-deny-due-to-bad-CUSTOM-action"
PATIENCE = 600.0  # seconds, Istio's where the provider has no timeout

Policy = Object[AuthorizationPolicy]
Steps = tuple[CheckSpec | RbacSpec, ...]


@dataclass(frozen=True, slots=True)
class Checks:
    """What is asked for HTTP and for bytes, and what the authors of the policies should know."""

    http: Steps = ()
    tcp: Steps = ()
    findings: tuple[Finding, ...] = ()


def checks_of(snapshot: Snapshot, view: ProxyView, policies: Iterable[Policy]) -> Checks:
    """The check of CUSTOM policies; with several providers a denial for each, by name."""
    by_provider: dict[str, list[Policy]] = {}
    for policy in policies:
        assert policy.spec.provider is not None  # validated
        by_provider.setdefault(policy.spec.provider.name, []).append(policy)
    if len(by_provider) == 1:
        ((name, asked),) = by_provider.items()
        return _checks(snapshot, view, name, asked)
    wrong = "the workload has several extension providers, and one is allowed"
    fix = "use one provider per workload"
    parts = [_closed(_made(snapshot, name, asked), asked, wrong, fix) for name, asked in sorted(by_provider.items())]
    return Checks(
        tuple(step for part in parts for step in part.http),
        tuple(step for part in parts for step in part.tcp),
        tuple(finding for part in parts for finding in part.findings),
    )


def _checks(snapshot: Snapshot, view: ProxyView, provider: str, policies: Sequence[Policy]) -> Checks:
    rules = _made(snapshot, provider, policies)
    server = _server(snapshot, view, provider)
    if isinstance(server, str):
        return _closed(rules, policies, server, "correct the name, or MeshConfig")
    said, upstream = server
    check = CheckSpec(
        when=RbacSpec(),
        mark=f"{MARK}-{provider}-ns[",
        server=_http_server(said, upstream) if isinstance(said, ExtAuthzHttp) else _grpc_server(upstream),
        timeout=PATIENCE if said.timeout is None else said.timeout,
        fail_open=said.fail_open,
        status_on_error=int(said.status_on_error or 0),
        clear_route_cache=said.clear_route_cache,
        body=_body(said),
    )
    asked = (_asked(check, rules.http),)
    if not isinstance(said, ExtAuthzHttp):
        return Checks(asked, (_asked(check, rules.tcp),), _not_grpc(provider, upstream, policies))
    return Checks(asked, (), _not_for_bytes(view, provider, policies))


def _made(snapshot: Snapshot, provider: str, policies: Iterable[Policy]) -> PolicyRules:
    made = [policy_rules(policy, trust_domains(snapshot), f"{MARK}-{provider}-") for policy in policies]
    return PolicyRules(
        tuple(rule for rules in made for rule in rules.http),
        tuple(rule for rules in made for rule in rules.tcp),
    )


def _closed(rules: PolicyRules, policies: Iterable[Policy], wrong: str, fix: str) -> Checks:
    message = f"{wrong}, so what the rules match is denied"
    return Checks((_denied(rules.http),), (_denied(rules.tcp),), _findings(policies, "ProviderUnusable", message, fix))


def _asked(check: CheckSpec, rules: tuple[RuleSpec, ...]) -> CheckSpec:
    return replace(check, when=RbacSpec(shadow=RuleSet(Verdict.DENY, rules), shadow_prefix=SHADOW_PREFIX))


def _denied(rules: Iterable[RuleSpec]) -> RbacSpec:
    named = tuple(RuleSpec(rule.name + DENIED, rule.operation, rule.caller) for rule in rules)
    return RbacSpec(rules=RuleSet(Verdict.DENY, named))


def _server(snapshot: Snapshot, view: ProxyView, name: str) -> tuple[ExtAuthzGrpc, ProviderUpstream] | str:
    """A provider's settings and upstream, or what is wrong with it."""
    provider = next((item for item in snapshot.mesh.extension_providers if item.name == name), None)
    if provider is None:
        return f"{name[:80]!r} is no extension provider of the mesh"
    said = provider.envoy_ext_authz_http or provider.envoy_ext_authz_grpc
    if said is None:
        return f"extension provider {name[:80]!r} is no authorization server"
    wrong = next(check_server(name, said, to_camel(kind_of(provider))), None)
    if wrong is not None:
        return f"extension provider {name[:80]!r} cannot be used ({wrong.path} {wrong.message})"
    upstream = find_upstream(snapshot, scope_of(snapshot, view), said.service, said.port)
    if isinstance(upstream, str):
        return f"extension provider {name[:80]!r}: {upstream}"
    return said, upstream


def _http_server(said: ExtAuthzHttp, upstream: ProviderUpstream) -> HttpServer:
    return HttpServer(
        upstream=upstream.name,
        host=upstream.service.host,
        path_prefix=said.path_prefix,
        sent=_names(said.include_request_headers_in_check or said.include_headers_in_check),
        added=tuple(sorted(said.include_additional_headers_in_check.items())),
        to_upstream=_names(said.headers_to_upstream_on_allow),
        to_client_on_deny=_names(said.headers_to_downstream_on_deny),
        to_client_on_allow=_names(said.headers_to_downstream_on_allow),
    )


def _names(names: Iterable[str]) -> tuple[StringMatch, ...]:
    return tuple(text_match(name, ignore_case=True) for name in names)


def _grpc_server(upstream: ProviderUpstream) -> GrpcServer:
    """Servers refuse an authority with `|`, which Envoy would take from the upstream's name."""
    return GrpcServer(upstream.name, upstream.name.replace("|", "_."))


def _body(said: ExtAuthzGrpc) -> BodySpec | None:
    body = said.include_request_body_in_check
    if body is None:
        return None
    return BodySpec(body.max_request_bytes, body.allow_partial_message, body.pack_as_bytes)


def _not_grpc(provider: str, upstream: ProviderUpstream, policies: Iterable[Policy]) -> tuple[Finding, ...]:
    if upstream.port.protocol.is_http2:
        return ()
    message = f"extension provider {provider[:80]!r} speaks gRPC, and its port is declared {upstream.port.protocol}"
    return _findings(policies, "ProviderNotGrpc", message, "declare the port GRPC", Severity.WARNING)


def _not_for_bytes(view: ProxyView, provider: str, policies: Iterable[Policy]) -> tuple[Finding, ...]:
    ports = sorted({target.target_port for target in view.targets if target.port.protocol.is_tcp})
    if not ports or view.type is ProxyType.ROUTER:
        return ()
    shown = ", ".join(map(str, ports[:10]))
    message = f"extension provider {provider[:80]!r} speaks HTTP, so it is not asked about TCP ports ({shown})"
    fix = "use a gRPC provider, or another policy for these ports"
    return _findings(policies, "ProviderNotForTcp", message, fix, Severity.WARNING)


def _findings(
    policies: Iterable[Policy], code: str, message: str, fix: str, severity: Severity = Severity.ERROR
) -> tuple[Finding, ...]:
    path = "spec.provider.name"
    return tuple(Finding(severity, code, str(policy), path, message, fix) for policy in policies)
