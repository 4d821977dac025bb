"""Who is named in AuthorizationPolicies and is not there, and policies on requests where there are none; tokens that
nobody has to have.

Rules: AuthorizationPolicy and RequestAuthentication references ("requests without a token are accepted"), and Istio's
analyzers of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from federation.model.findings import Finding
from federation.model.labels import Labels
from federation.model.service import Protocol
from istiod.analyze import codes
from istiod.analyze.lookup import labels_text, named, namespaces, workloads
from istiod.analyze.policies import labels_of
from istiod.api.authorizationpolicy import Action, AuthorizationPolicy, Rule, Source
from istiod.api.kinds import Kind
from istiod.api.meta import Object
from istiod.api.requestauthentication import RequestAuthentication
from istiod.resolve.objects import table_of, valid_objects
from istiod.snapshot import Snapshot

Ap = Object[AuthorizationPolicy]


def _policies(snapshot: Snapshot) -> list[Ap]:
    return valid_objects(table_of(snapshot, Kind.AUTHORIZATION_POLICY), AuthorizationPolicy)


def _sources(item: Ap) -> Iterator[tuple[str, Source]]:
    for index, rule in enumerate(item.spec.rules):
        for number, entry in enumerate(rule.from_ or ()):
            yield f"spec.rules[{index}].from[{number}].source", entry.source


def source_namespaces(snapshot: Snapshot) -> Iterator[Finding]:
    """Namespaces of callers that do not exist: here, or where services of other clusters are."""
    known = namespaces(snapshot)
    if not known:
        return
    known |= {service.namespace for service in snapshot.services.values()}
    for item in _policies(snapshot):
        for path, source in _sources(item):
            for field, values in (("namespaces", source.namespaces), ("notNamespaces", source.not_namespaces)):
                for index, value in enumerate(values):
                    if not any(_fits(value, namespace) for namespace in known):
                        message = f"there is no namespace {value!r}"
                        yield codes.NAMESPACE_NOT_FOUND.at(item, f"{path}.{field}[{index}]", message)


def _fits(pattern: str, namespace: str) -> bool:
    """Whether a name, in which a `*` may stand anywhere, is that of a namespace."""
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), namespace) is not None


def principals(snapshot: Snapshot) -> Iterator[Finding]:
    """Exact identities that no workload has, here or behind the services of other clusters."""
    accounts = {(workload.key.namespace, workload.account) for workload in workloads(snapshot)}
    if not accounts:
        return
    identities = (e.identity for endpoints in snapshot.endpoints.values() for e in endpoints)
    accounts |= {(identity.namespace, identity.service_account) for identity in identities if identity is not None}
    domains = {snapshot.mesh.trust_domain, *snapshot.mesh.trust_domain_aliases, "cluster.local"}
    for item in _policies(snapshot):
        for path, source in _sources(item):
            for index, value in enumerate(source.principals):
                wrong = _principal_problem(value, accounts, domains)
                if wrong:
                    yield codes.PRINCIPAL_NOT_FOUND.at(item, f"{path}.principals[{index}]", f"{value!r} {wrong}")
            for index, value in enumerate(source.service_accounts):
                namespace, slash, account = value.rpartition("/")
                if (namespace if slash else item.meta.namespace, account) not in accounts:
                    message = f"{value!r} is the service account of no workload"
                    yield codes.PRINCIPAL_NOT_FOUND.at(item, f"{path}.serviceAccounts[{index}]", message)


def _principal_problem(value: str, accounts: set[tuple[str, str]], domains: set[str]) -> str:
    """What is wrong with an exact identity; "" if nothing is, or if it is a pattern."""
    if "*" in value:
        return ""
    if value.startswith("spiffe://"):
        return "begins with spiffe://, which principals leave out"
    parts = value.split("/")
    if len(parts) != 5 or parts[1] != "ns" or parts[3] != "sa":
        return "has not the form <trust domain>/ns/<namespace>/sa/<service account>"
    if parts[0] in domains and (parts[2], parts[4]) not in accounts:
        return "is the identity of no workload"
    return ""


def http_rules(snapshot: Snapshot) -> Iterator[Finding]:
    """ALLOW policies with rules about requests, for workloads that also have ports where bytes are passed on.

    There such a rule matches nothing, and as soon as there is an ALLOW policy, what matches none is refused.
    """
    for item in _policies(snapshot):
        if item.spec.action is not Action.ALLOW:
            continue
        about = [index for index, rule in enumerate(item.spec.rules) if _is_about_requests(rule)]
        if not about or len(about) < len(item.spec.rules):
            continue
        ports = {port for port in _byte_ports(snapshot, item) if not _excludes(item.spec.rules, port)}
        if ports:
            message = f"is about requests, and {named(sorted(ports), 8)} of the workloads are TCP: refused there"
            yield codes.HTTP_RULE_ON_TCP.at(item, f"spec.rules[{about[0]}]", message)


def _is_about_requests(rule: Rule) -> bool:
    for entry in rule.to or ():
        operation = entry.operation
        if operation.hosts or operation.not_hosts or operation.methods or operation.not_methods:
            return True
        if operation.paths or operation.not_paths:
            return True
    for source in rule.from_ or ():
        if source.source.request_principals or source.source.not_request_principals:
            return True
    return any(condition.key.startswith("request.") for condition in rule.when)


def _excludes(rules: Sequence[Rule], port: int) -> bool:
    """Whether every rule names ports, and not this one: then nothing is meant to be allowed there."""
    said = [entry.operation.ports for rule in rules for entry in rule.to or ()]
    return bool(said) and all(ports and str(port) not in ports for ports in said)


def _byte_ports(snapshot: Snapshot, item: Object[AuthorizationPolicy] | Object[RequestAuthentication]) -> set[int]:
    """The ports of the workloads that a policy is for which are declared as TCP; those of its own namespace count."""
    labels = labels_of(item)
    found: set[int] = set()
    for key, endpoints in snapshot.endpoints.items():
        if key.namespace != item.meta.namespace:
            continue
        ports = {port.name for port in snapshot.services[key].ports if port.protocol is Protocol.TCP}
        if ports:
            for endpoint in endpoints:
                if endpoint.labels.selected_by(labels):
                    found |= {number for name, number in endpoint.ports if name in ports}
    return found


def tokens(snapshot: Snapshot) -> Iterator[Finding]:
    """RequestAuthentications behind which requests without a token pass, keys without TLS, and tokens on TCP."""
    policies = _policies(snapshot)
    for item in valid_objects(table_of(snapshot, Kind.REQUEST_AUTHENTICATION), RequestAuthentication):
        if not item.spec.jwt_rules:
            continue
        if not any(_wants_tokens(policy) and _covers(snapshot, policy, item) for policy in policies):
            message = "no AuthorizationPolicy for these workloads wants a token"
            yield codes.TOKEN_NOT_REQUIRED.at(item, "spec.jwtRules", message)
        for index, rule in enumerate(item.spec.jwt_rules):
            if rule.jwks_uri.startswith("http://") and not rule.jwks:
                path = f"spec.jwtRules[{index}].jwksUri"
                yield codes.KEYS_NOT_PROTECTED.at(item, path, f"{rule.jwks_uri[:80]!r} is fetched without TLS")
        ports = _byte_ports(snapshot, item)
        if ports and labels_of(item):
            message = f"the workloads with {labels_text(labels_of(item))} serve TCP on {named(sorted(ports), 8)}"
            yield codes.TOKEN_ON_TCP.at(item, "spec.selector.matchLabels", message)


def _wants_tokens(policy: Ap) -> bool:
    """Whether some rule tells requests with a token from those without."""
    sources = [source for _, source in _sources(policy)]
    named_there = any(source.request_principals or source.not_request_principals for source in sources)
    return named_there or any(
        condition.key.startswith("request.auth.") for rule in policy.spec.rules for condition in rule.when
    )


def _covers(snapshot: Snapshot, policy: Ap, item: Object[RequestAuthentication]) -> bool:
    """Whether a policy may be for workloads of an authentication: near enough to say nothing."""
    root = snapshot.mesh.root_namespace
    if policy.meta.namespace not in (root, item.meta.namespace) and item.meta.namespace != root:
        return False
    mine, theirs = Labels(labels_of(item)), Labels(labels_of(policy))
    return all(mine.get(key, value) == value for key, value in theirs.items())
