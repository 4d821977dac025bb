"""Which Kubernetes Secret an SDS name means, who may have it, and what is wrong with the Secrets that objects name.

Pure. Input: the snapshot's Secrets, the namespace that a proxy has proved to be of, and the references that Gateway API
grants. Knows nothing of streams (`istiod.ca.credentials`). Rules: Istio's names of credentials; a proxy may have
Secrets of its own namespace, others only by `kubernetes-gateway://` and only those granted to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from federation.model.findings import Finding, Severity
from federation.model.names import NamespacedName, host_matches, resolve_short_host
from federation.pki.chain import read_certificates
from istiod.api.destinationrule import ClientTLSSettings, DestinationRule, TLSMode, TrafficPolicy
from istiod.api.gateway import Gateway, GatewayTLSMode, ServerTLSSettings
from istiod.api.kinds import Kind
from istiod.api.meta import Object
from istiod.api.secret import PAIRS, ROOTS, Secret
from istiod.gatewayapi.names import is_derived
from istiod.memo import memo
from istiod.resolve.objects import Table, table_of, valid_objects
from istiod.resolve.scope import cluster_domain, scope_of
from istiod.resolve.specs.secret import CertificateSpec, RootsSpec
from istiod.resolve.tls import CA_SUFFIX, GATEWAY_SECRET, SECRET, credential, credential_roots
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyType, ProxyView
from istiod.view.visibility import destination_policy

NO_GRANTS: frozenset[NamespacedName] = frozenset()
_ENDING = (GatewayTLSMode.SIMPLE, GatewayTLSMode.MUTUAL, GatewayTLSMode.OPTIONAL_MUTUAL)
_PRESENTING = (TLSMode.SIMPLE, TLSMode.MUTUAL)


@dataclass(frozen=True, slots=True)
class CredentialName:
    """An SDS name taken apart. `roots` means the certificates to trust, `granted` that a grant decides who may have it.

    A name of roots that ends in `-cacert` means the Secret of that name, else the one without the ending.
    """

    secret: NamespacedName
    roots: bool
    granted: bool

    @property
    def secrets(self) -> tuple[NamespacedName, ...]:
        """The Secrets that it may stand in, the first that exists counts."""
        if not self.roots:
            return (self.secret,)
        namespace, name = self.secret.namespace, self.secret.name
        return (self.secret, NamespacedName(namespace, name.removesuffix(CA_SUFFIX)))


def parse_credential(resource: str, namespace: str) -> CredentialName | None:
    """`kubernetes://[namespace/]name` or `kubernetes-gateway://namespace/name`; None for names of other things.

    `namespace` is the proxy's, which counts where the name has none.
    """
    granted = resource.startswith(GATEWAY_SECRET)
    if not granted and not resource.startswith(SECRET):
        return None
    said, slash, name = resource.removeprefix(GATEWAY_SECRET if granted else SECRET).rpartition("/")
    if not name or "/" in said or bool(slash) != bool(said) or (granted and not said):
        return None
    return CredentialName(NamespacedName(said or namespace, name), name.endswith(CA_SUFFIX), granted)


def may_have(name: CredentialName, namespace: str, grants: frozenset[NamespacedName] = NO_GRANTS) -> bool:
    """Whether a proxy of a proven namespace may have a credential. `grants` are Secrets that its Gateways may refer to
    by the Gateway API: of their own namespace, or by a ReferenceGrant.
    """
    if name.granted:
        return not grants.isdisjoint(name.secrets)
    return name.secret.namespace == namespace


def credentials_of(
    secrets: Table, names: Iterable[str], namespace: str, grants: frozenset[NamespacedName] = NO_GRANTS
) -> Iterator[CertificateSpec | RootsSpec]:
    """What a proxy of a proven namespace gets of the SDS names that it asks for; nothing for all others."""
    for resource in names:
        name = parse_credential(resource, namespace)
        if name is None or not may_have(name, namespace, grants):
            continue
        secret = _secret(secrets, name)
        if secret is None:
            continue
        if name.roots and secret.roots:
            yield RootsSpec(resource, secret.roots, secret.revoked)
        elif not name.roots and secret.pair is not None:
            certificate, key = secret.pair
            yield CertificateSpec(resource, secret.entry(certificate), secret.entry(key), secret.staple)


def _secret(secrets: Table, name: CredentialName) -> Secret | None:
    found = next((secrets[key] for key in name.secrets if key in secrets), None)
    return found.spec if isinstance(found, Object) and isinstance(found.spec, Secret) else None


def credential_findings(
    snapshot: Snapshot, view: ProxyView, grants: frozenset[NamespacedName] = NO_GRANTS
) -> tuple[Finding, ...]:
    """The credentials that objects name for a view and that it cannot have, each with why not."""
    findings: list[Finding] = []
    if view.type is ProxyType.ROUTER:
        for item in valid_objects(table_of(snapshot, Kind.GATEWAY), Gateway):
            if not is_derived(item.meta) and view.labels.selected_by(item.spec.selector or {}):
                for path, name in _of_gateway(item.spec):
                    findings += _judge(snapshot, view, grants, str(item), path, name)
    for rule in _rules_in_force(snapshot, view):
        for path, tls in _of_rule(rule.spec):
            if view.type is not ProxyType.ROUTER and rule.spec.workload_selector is None:
                findings.append(_ignored(rule, path))
                continue
            names = [tls.credential_name] if tls.mode is TLSMode.MUTUAL else []
            names += [] if tls.insecure_skip_verify else [tls.credential_name + CA_SUFFIX]
            for name in names:
                findings += _judge(snapshot, view, grants, str(rule), path, name)
    return tuple(dict.fromkeys(findings))


def _of_gateway(gateway: Gateway) -> Iterator[tuple[str, str]]:
    for index, server in enumerate(gateway.servers):
        if server.tls is not None and server.tls.mode in _ENDING and server.port.protocol.upper() != "HTTP":
            yield from _of_server(server.tls, f"spec.servers[{index}].tls")


def _of_server(tls: ServerTLSSettings, path: str) -> Iterator[tuple[str, str]]:
    """The credentials of one server, each with the field that asks for it."""
    named = [(f"{path}.credentialNames[{index}]", name) for index, name in enumerate(tls.credential_names)]
    if not named and tls.credential_name:
        named = [(f"{path}.credentialName", tls.credential_name)]
    yield from named
    if tls.mode is GatewayTLSMode.SIMPLE:
        return
    if tls.ca_cert_credential_name:
        yield f"{path}.caCertCredentialName", credential_roots(tls.ca_cert_credential_name).name
    elif named:
        yield named[0][0], named[0][1] + CA_SUFFIX


def _rules_in_force(snapshot: Snapshot, view: ProxyView) -> Iterator[Object[DestinationRule]]:
    """The DestinationRules with credentials that the view follows for some service."""
    for rule in _rules_with_credentials(table_of(snapshot, Kind.DESTINATION_RULE)):
        by_host = scope_of(snapshot, view).by_host
        host = resolve_short_host(rule.spec.host, rule.meta.namespace, cluster_domain(view))
        covered = (s for name, s in by_host.items() if host_matches(host, name)) if host.startswith("*") else ()
        services = [by_host[host]] if host in by_host else covered
        followed = (destination_policy(snapshot, view, service) for service in services)
        if any(found is not None and found.rule is rule for found in followed):
            yield rule


@memo(size=4)
def _rules_with_credentials(table: Table) -> tuple[Object[DestinationRule], ...]:
    return tuple(item for item in valid_objects(table, DestinationRule) if any(_of_rule(item.spec)))


def _of_rule(rule: DestinationRule) -> Iterator[tuple[str, ClientTLSSettings]]:
    levels: list[tuple[str, TrafficPolicy | None]] = [("spec.trafficPolicy", rule.traffic_policy)]
    levels += [(f"spec.subsets[{i}].trafficPolicy", subset.traffic_policy) for i, subset in enumerate(rule.subsets)]
    for path, policy in levels:
        if policy is None:
            continue
        said = [(f"{path}.tls", policy.tls)]
        said += [(f"{path}.portLevelSettings[{i}].tls", port.tls) for i, port in enumerate(policy.port_level_settings)]
        for where, tls in said:
            if tls is not None and tls.credential_name and tls.mode in _PRESENTING:
                yield f"{where}.credentialName", tls


def _ignored(rule: Object[DestinationRule], path: str) -> Finding:
    message = "counts at gateways only, as the rule has no workloadSelector; sidecars connect without TLS"
    fix = "add a workloadSelector to the rule, or send the calls through an egress gateway"
    return Finding(Severity.WARNING, "CredentialIgnored", str(rule), path, message, fix)


def _judge(
    snapshot: Snapshot, view: ProxyView, grants: frozenset[NamespacedName], owner: str, path: str, said: str
) -> Iterator[Finding]:
    """Why a view cannot have what a `credentialName` means, if so."""
    name = parse_credential(credential(said).name, view.namespace)
    if name is None:
        yield _missing(owner, path, f"{said[:100]!r} is no name of a Secret", "name a Secret of the proxy's namespace")
        return
    shown = name.secrets[-1]
    if not may_have(name, view.namespace, grants):
        fix = f"put the Secret into namespace {view.namespace}" if not name.granted else "write a ReferenceGrant"
        yield _missing(owner, path, f"Secret {shown} is not for proxies of namespace {view.namespace}", fix)
        return
    secret = _secret(table_of(snapshot, Kind.SECRET), name)
    wanted = " or ".join(ROOTS) if name.roots else " or ".join(" and ".join(pair) for pair in PAIRS)
    if secret is None:
        yield _missing(owner, path, f"there is no usable Secret {shown}", "create it, or correct it")
    elif not (secret.roots if name.roots else secret.pair):
        held = ", ".join(secret.names[:10]) or "nothing"
        yield _missing(owner, path, f"Secret {shown} has no {wanted}; it has {held}", "add the missing entries")


def _missing(owner: str, path: str, message: str, fix: str) -> Finding:
    return Finding(Severity.ERROR, "CredentialMissing", owner, path, message, fix)


def expired_credentials(secrets: Table, now: datetime) -> tuple[Finding, ...]:
    """The Secrets whose certificate is out of date, or not valid yet, at a moment."""
    findings = []
    for key, entry, begins, ends in _validity(secrets):
        if not begins <= now <= ends:
            when = f"expired at {ends:%Y-%m-%dT%H:%M:%SZ}" if now > ends else f"begins at {begins:%Y-%m-%dT%H:%M:%SZ}"
            message = f"the certificate's time {when}"
            findings.append(
                Finding(Severity.WARNING, "CredentialExpired", f"Secret {key}", f"data.{entry}", message, "renew it")
            )
    return tuple(findings)


@memo(size=2)
def _validity(secrets: Table) -> tuple[tuple[NamespacedName, str, datetime, datetime], ...]:
    """From when to when the leaf in each Secret with a certificate is valid."""
    found = []
    for key, item in sorted(secrets.items()):
        pair = item.spec.pair if isinstance(item, Object) and isinstance(item.spec, Secret) else None
        if pair is not None:
            leaf = read_certificates(item.spec.entry(pair[0]))[0]
            found.append((key, pair[0], leaf.not_valid_before_utc, leaf.not_valid_after_utc))
    return tuple(found)
