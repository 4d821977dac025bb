"""AuthorizationPolicy: which policies hold where, in which order, and what is left of a rule where there is no HTTP."""

from __future__ import annotations

from dataclasses import replace

import pytest

from federation.model.findings import Severity
from federation.model.service import Protocol, Resolution, ServicePort
from istiod.resolve.authz import guard_of
from istiod.resolve.config import resolve_view
from istiod.resolve.specs.authz import (
    ALWAYS,
    NEVER,
    AllOf,
    AnyOf,
    CheckSpec,
    DestinationPort,
    GrpcServer,
    Header,
    HttpServer,
    Not,
    PathTemplate,
    PeerName,
    RuleSpec,
    Verdict,
)
from istiod.resolve.specs.listener import HttpConnection
from istiod.resolve.specs.match import MatchKind, StringMatch
from istiod.resolve.trust import TrustDomains
from istiod.view.proxy import ProxyType
from tests.istiod.resolve.conftest import TCP, mesh_services, service, target

POLICY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {name}, namespace: {namespace}, annotations: {annotations}}}
spec: {spec}
---
"""


def policy(spec, name="p", namespace="apps", annotations="{}"):
    return POLICY.format(name=name, namespace=namespace, spec=spec, annotations=annotations)


def enforced(authorization, verdict):
    return tuple(
        rule
        for one in authorization.rules
        if one.rules is not None and one.rules.verdict is verdict
        for rule in one.rules.rules
    )


def names(authorization, verdict=Verdict.DENY):
    return [rule.name for rule in enforced(authorization, verdict)]


def exact(principal):
    return PeerName(StringMatch(MatchKind.EXACT, f"spiffe://{principal}"))


DENY_ALL = "{action: DENY, rules: [{}]}"


def test_without_a_policy_nothing_is_checked(snapshot, view):
    guard = guard_of(snapshot(), view())
    assert (guard.http.checks, guard.http.rules, guard.tcp.rules, guard.findings) == ((), (), (), ())


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ["root", "own", "whole"]),
        ({"labels": {"app": "b"}}, ["root", "whole"]),
        ({"namespace": "other"}, ["root"]),
        ({"namespace": "istio-system"}, ["root"]),
    ],
)
def test_policies_of_the_root_the_namespace_and_the_workload_add_up(snapshot, view, fields, expected):
    world = snapshot(
        policy(DENY_ALL, "root", "istio-system")
        + policy(DENY_ALL, "whole")
        + policy("{selector: {matchLabels: {app: a}}, action: DENY, rules: [{}]}", "own")
    )
    assert names(guard_of(world, view(**fields)).http) == [
        f"ns[{'istio-system' if name == 'root' else 'apps'}]-policy[{name}]-rule[0]" for name in expected
    ]


def test_references_are_for_gateways_of_that_name(snapshot, view):
    world = snapshot(
        policy("{targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: g}], action: DENY, rules: [{}]}")
    )
    label = "gateway.networking.k8s.io/gateway-name"
    assert names(guard_of(world, view(type=ProxyType.ROUTER, labels={label: "g"})).http)
    assert not names(guard_of(world, view(type=ProxyType.ROUTER, labels={label: "h"})).http)
    assert not names(guard_of(world, view()).http)


def test_logs_come_before_denials_and_these_before_grants(snapshot, view):
    world = snapshot(
        policy("{rules: [{}]}", "allow") + policy("{action: AUDIT, rules: [{}]}", "audit") + policy(DENY_ALL, "deny")
    )
    for authorization in (guard_of(world, view()).http, guard_of(world, view()).tcp):
        assert [one.rules.verdict for one in authorization.rules] == [Verdict.LOG, Verdict.DENY, Verdict.ALLOW]


def test_a_grant_without_rules_grants_nothing_and_an_empty_rule_everything(snapshot, view):
    authorization = guard_of(snapshot(policy("{}", "none") + policy("{rules: [{}]}", "all")), view()).http
    assert enforced(authorization, Verdict.ALLOW) == (
        RuleSpec("ns[apps]-policy[all]-rule[0]", ALWAYS, ALWAYS),
        RuleSpec("ns[apps]-policy[none]-rule[0]", NEVER, NEVER),
    )


def test_conditions_belong_to_every_source_and_operation(snapshot, view):
    rule = (
        "{from: [{source: {principals: [td/ns/a/sa/x]}}, {source: {principals: [td/ns/a/sa/y]}}], "
        "to: [{operation: {ports: ['1']}}, {operation: {ports: ['2', '3'], notPorts: ['4']}}], "
        "when: [{key: destination.port, notValues: ['5']}, {key: source.principal, notValues: [td/ns/a/sa/z]}]}"
    )
    (found,) = enforced(guard_of(snapshot(policy(f"{{rules: [{rule}]}}")), view()).http, Verdict.ALLOW)
    five, other = Not(DestinationPort(5)), Not(exact("td/ns/a/sa/z"))
    two = AnyOf((DestinationPort(2), DestinationPort(3)))
    assert found.operation == AnyOf((AllOf((DestinationPort(1), five)), AllOf((two, Not(DestinationPort(4)), five))))
    assert found.caller == AnyOf((AllOf((exact("td/ns/a/sa/x"), other)), AllOf((exact("td/ns/a/sa/y"), other))))


HTTP_ONLY = [
    "from: [{source: {requestPrincipals: [a/b]}}]",
    "from: [{source: {notRequestPrincipals: ['*']}}]",
    "to: [{operation: {hosts: [a]}}]",
    "to: [{operation: {notMethods: [GET]}}]",
    "to: [{operation: {paths: [/a]}}]",
    "when: [{key: 'request.headers[a]', values: [b]}]",
    "when: [{key: 'request.experimental.inline.headers[a]', values: [b]}]",
    "when: [{key: 'request.auth.claims[a]', notValues: [b]}]",
    "when: [{key: request.auth.audiences, values: [b]}]",
    "when: [{key: request.auth.presenter, values: [b]}]",
    "when: [{key: request.auth.principal, values: [b]}]",
]


@pytest.mark.parametrize("field", HTTP_ONLY)
def test_without_http_a_rule_that_needs_it_grants_nothing_and_denies_more(snapshot, view, field):
    world = snapshot(policy(f"{{rules: [{{{field}}}]}}", "a") + policy(f"{{action: DENY, rules: [{{{field}}}]}}", "d"))
    guard = guard_of(world, view())
    assert enforced(guard.tcp, Verdict.ALLOW) == ()
    assert any(one.rules.verdict is Verdict.ALLOW for one in guard.tcp.rules)  # so that all the rest is denied
    assert enforced(guard.tcp, Verdict.DENY) == (RuleSpec("ns[apps]-policy[d]-rule[0]", ALWAYS, ALWAYS),)
    assert len(enforced(guard.http, Verdict.ALLOW)) == 1
    assert enforced(guard.http, Verdict.DENY)[0] != enforced(guard.tcp, Verdict.DENY)[0]


def test_without_http_a_denial_keeps_its_other_conditions(snapshot, view):
    world = snapshot(policy("{action: DENY, rules: [{to: [{operation: {methods: [GET], ports: ['9000']}}]}]}"))
    (rule,) = enforced(guard_of(world, view()).tcp, Verdict.DENY)
    assert (rule.operation, rule.caller) == (DestinationPort(9000), ALWAYS)


def test_a_trust_domain_is_a_source_and_an_attribute(snapshot, view):
    source = policy("{action: DENY, rules: [{from: [{source: {trustDomains: [td]}}]}]}")
    attribute = policy("{action: DENY, rules: [{when: [{key: source.trustDomain, values: [td]}]}]}")
    first, second = (enforced(guard_of(snapshot(said), view()).http, Verdict.DENY) for said in (source, attribute))
    assert first == second != ()


@pytest.mark.parametrize(
    ("field", "value", "operation"),
    [
        ("hosts", "'*.Test'", Header),
        ("paths", "'/a/{*}/b/{**}'", PathTemplate),
    ],
)
def test_hosts_ignore_case_and_templates_are_envoys(snapshot, view, field, value, operation):
    (rule,) = enforced(
        guard_of(snapshot(policy(f"{{rules: [{{to: [{{operation: {{{field}: [{value}]}}}}]}}]}}")), view()).http,
        Verdict.ALLOW,
    )
    assert isinstance(rule.operation, operation)
    if isinstance(rule.operation, Header):
        assert rule.operation.match.match == StringMatch(MatchKind.SUFFIX, ".Test", ignore_case=True)
    else:
        assert rule.operation.template == "/a/*/b/**"


@pytest.mark.parametrize("said", ["true", "True", "1", "t"])
def test_a_policy_on_trial_is_tried_and_not_enforced(snapshot, view, said):
    text = "".join(
        policy(spec, name, annotations=f'{{istio.io/dry-run: "{said}"}}')
        for name, spec in (("a", "{}"), ("d", DENY_ALL), ("c", "{action: CUSTOM, provider: {name: x}, rules: [{}]}"))
    )
    guard = guard_of(snapshot(text + policy("{action: DENY, rules: [{}]}", "real")), view())
    assert guard.http.checks == ()
    assert names(guard.http) == ["ns[apps]-policy[real]-rule[0]"]
    assert [(one.shadow_prefix, [rule.name for rule in one.shadow.rules]) for one in guard.http.rules] == [
        ("istio_dry_run_custom_", ["ns[apps]-policy[c]-rule[0]"]),
        ("istio_dry_run_deny_", ["ns[apps]-policy[d]-rule[0]"]),
        ("istio_dry_run_allow_", ["ns[apps]-policy[a]-rule[0]"]),
    ]
    assert guard.findings == ()


def test_an_annotation_that_is_neither_true_nor_false_is_said_and_the_policy_enforced(snapshot, view):
    guard = guard_of(snapshot(policy(DENY_ALL, annotations='{istio.io/dry-run: "yes"}')), view())
    assert names(guard.http)
    assert [(one.severity, one.code) for one in guard.findings] == [(Severity.WARNING, "InvalidAnnotation")]


def test_a_policy_that_cannot_be_read_denies_everything_to_what_it_selects(snapshot, view):
    world = snapshot(policy("{selector: {matchLabels: {app: a}}, rules: [{to: [{operation: {}}]}]}", "broken"))
    guard = guard_of(world, view())
    for authorization in (guard.http, guard.tcp):
        assert enforced(authorization, Verdict.DENY) == (RuleSpec("ns[apps]-policy[broken]-rule[0]", ALWAYS, ALWAYS),)
    assert [(one.code, one.object) for one in guard.findings] == [
        ("PolicyFailsClosed", "AuthorizationPolicy apps/broken")
    ]
    assert guard.findings[0] in resolve_view(world, view()).findings
    assert guard_of(world, view(labels={"app": "b"})).http.rules == ()


def test_a_broken_policy_on_trial_denies_nothing(snapshot, view):
    world = snapshot(policy("{rules: [{to: [{operation: {}}]}]}", annotations='{istio.io/dry-run: "true"}'))
    assert guard_of(world, view()).http.rules == ()


DOMAINS = TrustDomains(("east.mesh", "old.mesh"), ("west.mesh",))


@pytest.mark.parametrize(
    ("principal", "expected"),
    [
        ("cluster.local/ns/a/sa/b", ["east.mesh/ns/a/sa/b", "old.mesh/ns/a/sa/b", "west.mesh/ns/a/sa/b"]),
        ("east.mesh/ns/a/sa/b", ["east.mesh/ns/a/sa/b", "old.mesh/ns/a/sa/b"]),
        ("old.mesh/ns/a/sa/b", ["east.mesh/ns/a/sa/b", "old.mesh/ns/a/sa/b"]),
        ("west.mesh/ns/a/sa/b", ["west.mesh/ns/a/sa/b"]),
        ("elsewhere/ns/a/sa/b", ["elsewhere/ns/a/sa/b"]),
        ("*/ns/a/sa/b", ["*/ns/a/sa/b"]),
        ("*st.mesh/ns/a/sa/b", ["*st.mesh/ns/a/sa/b", "old.mesh/ns/a/sa/b"]),
        ("*.mesh/ns/a/sa/b", ["*.mesh/ns/a/sa/b"]),
        ("*", ["*"]),
        ("east.mesh/*", ["east.mesh/*"]),
        ("*/sa/b", ["*/sa/b"]),
    ],
)
def test_domains_that_a_principal_means(principal, expected):
    assert list(DOMAINS.expand_principals((principal,))) == expected


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("cluster.local", ("east.mesh", "old.mesh", "west.mesh")),
        ("old.mesh", ("east.mesh", "old.mesh")),
        ("west.mesh", ("west.mesh",)),
        ("*st.mesh", ("*st.mesh",)),
        ("*", ("*",)),
    ],
)
def test_domains_that_a_trust_domain_means(domain, expected):
    assert DOMAINS.meant_by(domain) == expected


def test_peers_of_the_mesh_are_known_to_policies(snapshot, view):
    world = snapshot(policy("{rules: [{from: [{source: {principals: [cluster.local/ns/a/sa/b]}}]}]}"))
    (rule,) = enforced(guard_of(replace(world, peer_domains=("west.mesh",)), view()).http, Verdict.ALLOW)
    assert rule.caller == AnyOf((exact("cluster.local/ns/a/sa/b"), exact("west.mesh/ns/a/sa/b")))


CUSTOM = "{action: CUSTOM, provider: {name: opa}, rules: [{to: [{operation: {ports: ['8080']}}]}]}"
OPA = "opa.apps.svc.cluster.local"
GRPC = ServicePort(9191, "grpc", Protocol.GRPC, 9191)


def with_server(protocol="Grpc", **fields):
    said = {"service": OPA, "port": 9191, **fields}
    return {"extensionProviders": [{"name": "opa", f"envoyExtAuthz{protocol}": said}]}


def servers(*ports):
    return [*mesh_services(), service("opa", ports=ports or (GRPC,))]


def test_a_grpc_server_is_asked_about_requests_and_connections(snapshot, view):
    world = snapshot(policy(CUSTOM), servers(), **with_server(timeout="2s", failOpen=True, statusOnError="503"))
    guard = guard_of(world, view(targets=(target(TCP),)))
    assert guard.findings == ()
    assert guard.http.checks == guard.tcp.checks
    (check,) = guard.http.checks
    assert isinstance(check, CheckSpec)
    upstream = "outbound|9191||opa.apps.svc.cluster.local"
    assert check.server == GrpcServer(upstream, upstream.replace("|", "_."))
    assert (check.timeout, check.fail_open, check.status_on_error) == (2.0, True, 503)
    (rule,) = check.when.shadow.rules
    assert rule.name == "istio-ext-authz-opa-ns[apps]-policy[p]-rule[0]"
    assert rule.name.startswith(check.mark)
    assert guard.http.rules == ()


def test_an_http_server_is_not_asked_about_connections_and_that_is_said(snapshot, view):
    world = snapshot(policy(CUSTOM), servers(), **with_server("Http", includeHeadersInCheck=["Cookie"]))
    guard = guard_of(world, view(targets=(target(TCP),)))
    (check,) = guard.http.checks
    assert isinstance(check.server, HttpServer)
    assert check.server.sent == (StringMatch(MatchKind.EXACT, "Cookie", ignore_case=True),)
    assert guard.tcp.checks == ()
    assert [(one.severity, one.code) for one in guard.findings] == [(Severity.WARNING, "ProviderNotForTcp")]
    assert guard_of(world, view()).findings == ()


@pytest.mark.parametrize(
    ("mesh", "services", "words"),
    [
        ({}, None, "'opa' is no extension provider of the mesh"),
        ({"extensionProviders": [{"name": "opa", "prometheus": {}}]}, None, "is no authorization server"),
        (with_server(), None, "service 'opa.apps.svc.cluster.local' is not known"),
        (with_server(service="other/opa.apps.svc.cluster.local"), servers(), "is not known"),
        (with_server(), [*servers(), service("opa", "other", host=OPA)], "in several namespaces"),
        (with_server(), [service("opa", ports=(GRPC,), export_to=("~",))], "is not visible"),
        (with_server(port=1), servers(), "has no port 1"),
        (with_server(statusOnError="299"), servers(), "statusOnError '299' is no HTTP status that can be answered"),
        (with_server("Http", includeRequestHeadersInCheck=["*"]), servers(), "is '*', which stands for no header"),
        (with_server(), [service("opa", ports=(GRPC,), resolution=Resolution.PASSTHROUGH)], "has no endpoints"),
    ],
)  # fmt: skip
def test_a_server_that_cannot_be_asked_denies_what_it_was_to_decide_on(snapshot, view, mesh, services, words):
    guard = guard_of(snapshot(policy(CUSTOM), services, **mesh), view())
    for authorization in (guard.http, guard.tcp):
        (closed,) = authorization.checks
        assert closed.rules.verdict is Verdict.DENY
        (rule,) = closed.rules.rules
        assert rule.operation == DestinationPort(8080)
    (finding,) = guard.findings
    assert (finding.severity, finding.code, finding.path) == (Severity.ERROR, "ProviderUnusable", "spec.provider.name")
    assert words in finding.message


def test_several_servers_for_one_workload_deny_what_they_were_to_decide_on(snapshot, view):
    servers_of_mesh = [{**with_server()["extensionProviders"][0], "name": name} for name in ("opa", "sso")]
    policies = policy(CUSTOM) + policy(CUSTOM.replace("opa", "sso").replace("8080", "81"), "q")
    guard = guard_of(snapshot(policies, servers(), extensionProviders=servers_of_mesh), view())
    for authorization in (guard.http, guard.tcp):
        denied = [rule.operation for closed in authorization.checks for rule in closed.rules.rules]
        assert denied == [DestinationPort(8080), DestinationPort(81)]
    assert [(one.object, one.code) for one in guard.findings] == [
        ("AuthorizationPolicy apps/p", "ProviderUnusable"),
        ("AuthorizationPolicy apps/q", "ProviderUnusable"),
    ]


def test_a_grpc_server_on_a_port_of_another_protocol_is_said(snapshot, view):
    port = ServicePort(9191, "http", Protocol.HTTP, 9191)
    guard = guard_of(snapshot(policy(CUSTOM), servers(port), **with_server()), view())
    assert [(one.severity, one.code) for one in guard.findings] == [(Severity.WARNING, "ProviderNotGrpc")]


def test_a_sidecar_that_does_not_import_the_server_has_its_upstream_all_the_same(snapshot, view):
    sidecar = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: apps}
spec: {egress: [{hosts: ["other/*"]}]}
---
"""
    world = snapshot(sidecar + policy(CUSTOM), servers(), **with_server())
    clusters = {cluster.name for cluster in resolve_view(world, view()).clusters}
    assert "outbound|9191||opa.apps.svc.cluster.local" in clusters
    assert not any("||a.apps" in name for name in clusters)
    (check,) = guard_of(world, view()).http.checks
    assert isinstance(check, CheckSpec)


def test_every_inbound_chain_is_guarded_and_no_outbound_one(snapshot, view):
    world = snapshot(policy(DENY_ALL))
    listeners = resolve_view(world, view(targets=(target(TCP),))).listeners
    for listener in listeners:
        for chain in listener.chains:
            handler = chain.handler
            found = handler.authorization if isinstance(handler, HttpConnection) else chain.authorization
            guarded = listener.name == "virtualInbound" and chain.name != "virtualInbound-blackhole"
            assert bool(found.rules) is guarded, (listener.name, chain.name)
