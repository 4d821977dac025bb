"""BackendTLSPolicy -> DestinationRules: TLS towards a Service, or towards single ports of it.

Rules: BackendTLSPolicy; of two policies for one place the older counts. A policy whose CA certificates cannot be had
lets no connection through. Where a user wrote a DestinationRule for the Service in its own namespace, that rule with
the policy's TLS stands in the place of the user's; else there is one more rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from federation.model.findings import Finding, Severity
from federation.model.names import NamespacedName, host_matches, resolve_short_host
from federation.model.service import Service
from istiod.api.destinationrule import (
    ClientTLSSettings,
    DestinationRule,
    PortSelector,
    PortTrafficPolicy,
    TLSMode,
    TrafficPolicy,
)
from istiod.api.gatewayapi.backendtlspolicy import BackendTLSPolicy, PolicyTarget
from istiod.api.kinds import Kind
from istiod.api.meshconfig import MeshConfig
from istiod.api.meta import Object
from istiod.events import MESH_KEY
from istiod.gatewayapi.listener_tls import ca_certificates
from istiod.gatewayapi.names import derived
from istiod.gatewayapi.status import (
    ACCEPTED,
    RESOLVED_REFS,
    Fault,
    ObjectStatus,
    ParentStatus,
    conditions,
    findings_of,
    shown,
)
from istiod.gatewayapi.world import World

SYSTEM = "system"
NO_CERTIFICATES = "/nowhere"  # no file has this name, so no server can be verified by it
_TYPES = (ACCEPTED, RESOLVED_REFS)


@dataclass(slots=True)
class _Claims:
    """What policies ask for one Service: by port number, 0 = all others."""

    service: Service
    tls: dict[int, ClientTLSSettings] = field(default_factory=dict)
    policies: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Policies:
    """The derived rules, the statuses, and the findings of all policies."""

    rules: dict[NamespacedName, Object[DestinationRule]] = field(default_factory=dict)
    statuses: list[ObjectStatus] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def backend_tls(world: World) -> Policies:
    """Everything that BackendTLSPolicies make."""
    made = Policies()
    claims: dict[str, _Claims] = {}
    for item in world.objects(Kind.BACKEND_TLS_POLICY, BackendTLSPolicy):
        tls, wrong = _settings(world, item)
        parents, faults = [], list(wrong)
        for index, target in enumerate(item.spec.target_refs):
            found = list(_claim(world, item, target, f"spec.targetRefs[{index}]", tls, claims))
            faults += found
            name = f"{target.kind} {item.meta.namespace}/{target.name}"
            parents.append(ParentStatus(name, target.section_name, 0, conditions(_TYPES, [*wrong, *found])))
        made.statuses.append(ObjectStatus(shown(item), parents=tuple(parents)))
        made.findings += findings_of(shown(item), faults)
    made.findings += _hidden(world, claims)
    users = _users(world)
    for host, claim in claims.items():
        rule = _rule(claim, users.get(host))
        made.rules[rule.meta.key] = rule
    return made


def _settings(world: World, item: Object[BackendTLSPolicy]) -> tuple[ClientTLSSettings, list[Fault]]:
    said = item.spec.validation
    roots = SYSTEM
    faults: list[Fault] = []
    if said.ca_certificate_refs:
        references = [
            (reference, item.meta.namespace, f"spec.validation.caCertificateRefs[{index}]")
            for index, reference in enumerate(said.ca_certificate_refs)
        ]
        roots, faults = ca_certificates(world, references)
    if not roots:
        where, fix = "spec.validation.caCertificateRefs", "create a ConfigMap with ca.crt"
        message = "has no CA certificates, so no connection is made"
        faults.append(Fault(ACCEPTED, "NoValidCACertificate", where, message, fix))
    faults += [
        Fault(RESOLVED_REFS, "UnsupportedOption", f"spec.options[{name[:100]}]", "has no effect", "remove it")
        for name in item.spec.options
    ]
    names = tuple(name.hostname or name.uri for name in said.subject_alt_names) or (said.hostname,)
    tls = ClientTLSSettings(
        mode=TLSMode.SIMPLE,
        sni=said.hostname,
        subject_alt_names=names,
        ca_certificates=roots or NO_CERTIFICATES,
    )
    return tls, faults


def _claim(
    world: World,
    item: Object[BackendTLSPolicy],
    target: PolicyTarget,
    path: str,
    tls: ClientTLSSettings,
    claims: dict[str, _Claims],
) -> Iterator[Fault]:
    """File a policy under its target, unless there is none or an older policy has it."""
    if (target.group, target.kind) != ("", "Service"):
        kind = f"{target.group}/{target.kind}".strip("/")[:100]
        yield Fault(ACCEPTED, "Invalid", f"{path}.kind", f"{kind!r} takes no such policy", "name a Service")
        return
    service = world.service(item.meta.namespace, target.name)
    if service is None:
        message = f"there is no Service {item.meta.namespace}/{target.name}"
        yield Fault(ACCEPTED, "TargetNotFound", f"{path}.name", message, "create it, or correct the name")
        return
    port = next((port.number for port in service.ports if port.name == target.section_name), 0)
    if target.section_name and not port:
        message = f"no port of Service {target.name} is called {target.section_name!r}"
        yield Fault(ACCEPTED, "TargetNotFound", f"{path}.sectionName", message, "use the name of a port")
        return
    claim = claims.setdefault(service.host, _Claims(service))
    if port in claim.tls:
        yield Fault(ACCEPTED, "Conflicted", path, "is the target of an older policy", "keep one of the policies")
        return
    claim.tls[port] = tls
    claim.policies.append(shown(item))


def _hidden(world: World, claims: Mapping[str, _Claims]) -> Iterator[Finding]:
    """Policies that some clients do not follow, as a rule of their own namespace or for chosen clients goes first."""
    mesh: MeshConfig | None = world.table(Kind.MESH_CONFIG).get(MESH_KEY)
    root = (mesh or MeshConfig()).root_namespace
    for item in world.objects(Kind.DESTINATION_RULE, DestinationRule):
        namespace = item.meta.namespace
        host = resolve_short_host(item.spec.host, namespace, world.domain)
        for claim in claims.values():
            own = namespace == claim.service.namespace
            hides = item.spec.workload_selector is not None if own else namespace != root
            if hides and host_matches(host, claim.service.host):
                message = f"{item} speaks for clients of namespace {namespace} instead"
                fix = "give that rule the same TLS settings, or remove it"
                for policy in claim.policies:
                    yield Finding(Severity.WARNING, "PolicyHidden", policy, "spec.targetRefs", message, fix)


def _users(world: World) -> Mapping[str, Object[DestinationRule]]:
    """For each host the user's rule, of those in the host's own namespace, whose policy counts for all clients."""
    found: dict[str, Object[DestinationRule]] = {}
    rules = sorted(
        (item for item in world.objects(Kind.DESTINATION_RULE, DestinationRule) if item.spec.workload_selector is None),
        key=lambda item: (item.spec.traffic_policy is None, item.meta.age_order),
    )
    for item in rules:
        host = resolve_short_host(item.spec.host, item.meta.namespace, world.domain)
        if host.split(".")[1:2] == [item.meta.namespace]:
            found.setdefault(host, item)
    return found


def _rule(claim: _Claims, users: Object[DestinationRule] | None) -> Object[DestinationRule]:
    """The rule for a Service: the user's with TLS over it, or a new one."""
    policy = (users.spec.traffic_policy if users is not None else None) or TrafficPolicy()
    levels = {level.port.number: level for level in policy.port_level_settings if level.port is not None}
    for number, tls in claim.tls.items():
        if number:
            base = levels.get(number) or PortTrafficPolicy(
                port=PortSelector(number=number),
                load_balancer=policy.load_balancer,
                connection_pool=policy.connection_pool,
                outlier_detection=policy.outlier_detection,
            )
            levels[number] = base.model_copy(update={"tls": tls})
    if 0 in claim.tls:
        whole = claim.tls[0]
        policy = policy.model_copy(update={"tls": whole})
        levels = {
            number: level if number in claim.tls else level.model_copy(update={"tls": whole})
            for number, level in levels.items()
        }
    policy = policy.model_copy(update={"port_level_settings": tuple(levels.values())})
    if users is not None:
        return Object(users.kind, users.meta, users.spec.model_copy(update={"traffic_policy": policy}))
    service = claim.service
    meta = derived(service.namespace, service.name, "backend-tls", ",".join(claim.policies))
    return Object(Kind.DESTINATION_RULE.value, meta, DestinationRule(host=service.host, traffic_policy=policy))
