"""DestinationRules against the services, workloads and mutual TLS of what they are for.

Rules: Istio's analyzers of DestinationRules; one rule of a namespace hides nothing, but parts of the younger of two for
one host are lost (`istiod.view.visibility`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from federation.model.findings import Finding
from federation.model.labels import Labels
from federation.model.names import ServiceKey
from federation.model.service import Resolution, Service
from federation.model.workload import Endpoint
from istiod.analyze import codes
from istiod.analyze.lookup import every_host, full_host, hosts_of, labels_text, named, workloads
from istiod.api.destinationrule import ClientTLSSettings, DestinationRule, TLSMode, TrafficPolicy
from istiod.api.kinds import Kind
from istiod.api.meta import Object
from istiod.resolve.objects import table_of, valid_objects
from istiod.resolve.peerauth import MtlsMode, peer_policies
from istiod.snapshot import Snapshot

Dr = Object[DestinationRule]


def rules(snapshot: Snapshot) -> list[Dr]:
    """All valid DestinationRules, oldest first."""
    return valid_objects(table_of(snapshot, Kind.DESTINATION_RULE), DestinationRule)


def _services(snapshot: Snapshot, rule: Dr) -> list[Service]:
    """The services that a rule is for, as far as their endpoints tell something."""
    host = full_host(snapshot, rule.spec.host, rule.meta.namespace)
    if host.startswith("*"):
        return []
    found = hosts_of(snapshot, rule.meta.namespace).get(host)
    return [found] if found is not None and found.host == host else []


def hosts(snapshot: Snapshot) -> Iterator[Finding]:
    """Rules for a host that no service has."""
    if not snapshot.services:
        return
    for rule in rules(snapshot):
        host = full_host(snapshot, rule.spec.host, rule.meta.namespace)
        if not every_host(snapshot).covered_by(host):
            yield codes.RULE_MATCHES_NOTHING.at(rule, "spec.host", f"{rule.spec.host!r} is the host of no service")


def subsets(snapshot: Snapshot) -> Iterator[Finding]:
    """Subsets whose labels no endpoint of the service carries. Nothing is said where no workload is known."""
    if not workloads(snapshot):
        return
    for rule in rules(snapshot):
        for service in _services(snapshot, rule):
            if service.resolution is not Resolution.ENDPOINTS:
                continue
            there = snapshot.endpoints.get(service.key, ())
            for index, subset in enumerate(rule.spec.subsets):
                if subset.labels and not any(endpoint.labels.selected_by(subset.labels) for endpoint in there):
                    message = f"no workload of {rule.spec.host} has the labels {labels_text(subset.labels)}"
                    yield codes.SUBSET_WITHOUT_PODS.at(rule, f"spec.subsets[{index}].labels", message)


def conflicts(snapshot: Snapshot) -> Iterator[Finding]:
    """Rules of one namespace for one host of which something is lost: a policy, or a subset of a known name."""
    groups: dict[tuple[str, str], list[Dr]] = defaultdict(list)
    for rule in rules(snapshot):
        if rule.spec.workload_selector is None:
            groups[rule.meta.namespace, full_host(snapshot, rule.spec.host, rule.meta.namespace)].append(rule)
    for (_, host), group in sorted(groups.items()):
        policy: Dr | None = None
        names: dict[str, Dr] = {}
        for rule in group:
            if rule.spec.traffic_policy is not None:
                if policy is not None:
                    message = f"{policy} has the trafficPolicy for {host} that counts"
                    yield codes.RULE_CONFLICT.at(rule, "spec.trafficPolicy", message)
                policy = policy or rule
            for index, subset in enumerate(rule.spec.subsets):
                known = names.setdefault(subset.name, rule)
                if known is not rule:
                    message = f"{known} has the subset {subset.name!r} of {host} that counts"
                    yield codes.RULE_CONFLICT.at(rule, f"spec.subsets[{index}]", message)


def _tls_settings(rule: Dr) -> Iterator[tuple[str, int, ClientTLSSettings]]:
    """Every TLS setting of a rule: its path, the port that it is for (0 = all), and itself."""
    policies: list[tuple[str, TrafficPolicy | None]] = [("spec.trafficPolicy", rule.spec.traffic_policy)]
    policies += [(f"spec.subsets[{i}].trafficPolicy", s.traffic_policy) for i, s in enumerate(rule.spec.subsets)]
    for path, policy in policies:
        if policy is None:
            continue
        if policy.tls is not None:
            yield f"{path}.tls", 0, policy.tls
        for index, level in enumerate(policy.port_level_settings):
            if level.tls is not None:
                yield f"{path}.portLevelSettings[{index}].tls", level.port.number if level.port else 0, level.tls


def mtls(snapshot: Snapshot) -> Iterator[Finding]:
    """TLS settings that contradict PeerAuthentication: no mutual TLS to STRICT servers, mutual TLS to DISABLE ones."""
    policies = peer_policies(snapshot)
    for rule in rules(snapshot):
        settings = list(_tls_settings(rule))
        for service in _services(snapshot, rule) if settings else ():
            if service.external:
                continue
            for path, port, tls in settings:
                wrong = MtlsMode.DISABLE if tls.mode is TLSMode.ISTIO_MUTUAL else MtlsMode.STRICT
                there = _members(snapshot.endpoints, service, wrong is MtlsMode.STRICT)
                numbers = [p for p in service.ports if not port or p.number == port]
                modes = {
                    policies.mode(service.namespace, labels, endpoint_port)
                    for labels, ports in there
                    for p in numbers
                    for endpoint_port in (dict(ports).get(p.name, p.target_port),)
                }
                if modes == {wrong}:
                    message = f"is {tls.mode}, and the workloads of {rule.spec.host} are in mode {wrong}"
                    yield codes.MTLS_CONFLICT.at(rule, f"{path}.mode", message)


def _members(
    endpoints: Mapping[ServiceKey, tuple[Endpoint, ...]], service: Service, with_sidecar: bool
) -> set[tuple[Labels, tuple[tuple[str, int], ...]]]:
    """Labels and ports of the workloads of a service (with a sidecar: others enforce nothing).

    Its selector stands in where none is known.
    """
    known = endpoints.get(service.key, ())
    found = {(endpoint.labels, endpoint.ports) for endpoint in known if endpoint.mtls or not with_sidecar}
    return found if known else {(service.selector, ())}


def certificates(snapshot: Snapshot) -> Iterator[Finding]:
    """TLS to servers whose certificate nothing is known of."""
    for rule in rules(snapshot):
        for path, _, tls in _tls_settings(rule):
            named_ca = tls.ca_certificates or tls.credential_name
            if tls.mode in (TLSMode.SIMPLE, TLSMode.MUTUAL) and not named_ca and not tls.insecure_skip_verify:
                message = f"is {tls.mode} to {rule.spec.host} without caCertificates"
                yield codes.SERVER_NOT_VERIFIED.at(rule, path, message)


def ports(snapshot: Snapshot) -> Iterator[Finding]:
    """Settings for ports that the service does not have."""
    for rule in rules(snapshot):
        for service in _services(snapshot, rule):
            numbers = [port.number for port in service.ports]
            for path, number in _port_levels(rule.spec):
                if number and number not in numbers:
                    message = f"{rule.spec.host} has no port {number}, only {named(numbers, 8)}"
                    yield codes.POLICY_FOR_NO_PORT.at(rule, path, message)


def _port_levels(spec: DestinationRule) -> Iterator[tuple[str, int]]:
    policies: list[tuple[str, Any]] = [("spec.trafficPolicy", spec.traffic_policy)]
    policies += [(f"spec.subsets[{index}].trafficPolicy", s.traffic_policy) for index, s in enumerate(spec.subsets)]
    for path, policy in policies:
        for index, level in enumerate(policy.port_level_settings if policy is not None else ()):
            yield f"{path}.portLevelSettings[{index}].port.number", level.port.number if level.port else 0
