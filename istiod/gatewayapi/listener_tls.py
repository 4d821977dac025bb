"""TLS of a listener of the Gateway API -> Istio's `ServerTLSSettings`, and what is wrong with it.

Rules: `ListenerTLSConfig`; Secrets of other namespaces need a ReferenceGrant, and a listener without any certificate
that it may use is not served. Istio's options of listeners are followed, and its names of Secrets are used
(`kubernetes-gateway://namespace/name`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from federation.model.names import NamespacedName
from federation.pki.chain import read_certificates
from istiod.api.gateway import GatewayTLSMode, ServerTLSSettings
from istiod.api.gatewayapi.gateway import ClientValidation, Gateway, Listener, ListenerTLS, TLSMode
from istiod.api.gatewayapi.references import LocalReference, ObjectReference
from istiod.api.kinds import Kind
from istiod.api.kubernetes import ConfigMap
from istiod.api.meta import Object
from istiod.api.secret import Secret
from istiod.gatewayapi.status import PROGRAMMED, RESOLVED_REFS, Fault
from istiod.gatewayapi.world import Owner, World

SECRET_NAME = "kubernetes-gateway://{}/{}"
TERMINATE_MODE = "gateway.istio.io/tls-terminate-mode"
LISTENER_PROTOCOL = "gateway.istio.io/listener-protocol"
CA_ENTRY = "ca.crt"
_MODES = {mode.value: mode for mode in (
    GatewayTLSMode.SIMPLE, GatewayTLSMode.MUTUAL, GatewayTLSMode.OPTIONAL_MUTUAL, GatewayTLSMode.ISTIO_MUTUAL
)}  # fmt: skip


def server_tls(
    world: World, gateway: Object[Gateway], said: Listener, path: str
) -> tuple[ServerTLSSettings | None, list[Fault]]:
    """How TLS ends at a listener; None where it does not."""
    if said.protocol not in ("HTTPS", "TLS"):
        return None, []
    if said.tls is None:
        message = f"is missing for protocol {said.protocol}"
        fault = Fault(PROGRAMMED, "Invalid", f"{path}.tls", message, "give mode and certificateRefs")
        return ServerTLSSettings(mode=GatewayTLSMode.SIMPLE), [fault]
    faults = list(_unknown_options(said.tls, path))
    if said.tls.mode is TLSMode.PASSTHROUGH:
        automatic = said.tls.options.get(LISTENER_PROTOCOL) == "auto-passthrough"
        return (ServerTLSSettings(mode=GatewayTLSMode.AUTO_PASSTHROUGH) if automatic else None), faults
    mode = _MODES.get(said.tls.options.get(TERMINATE_MODE, "SIMPLE"), GatewayTLSMode.SIMPLE)
    if mode is GatewayTLSMode.ISTIO_MUTUAL:
        return ServerTLSSettings(mode=mode), faults
    names, more = _certificates(world, gateway, said.tls, f"{path}.tls.certificateRefs")
    faults += more
    if not names:
        where, fix = f"{path}.tls.certificateRefs", "refer to a Secret that may be used"
        faults.append(Fault(PROGRAMMED, "Invalid", where, "has no certificate that may be used", fix))
    validation = _client_validation(gateway.spec, said)
    if validation is None:
        return ServerTLSSettings(mode=mode, credential_names=tuple(names)), faults
    where, checked = validation
    roots, more = _client_roots(world, gateway, checked, where.format(path))
    faults += more
    if not roots:
        where, fix = f"{path}.tls", "refer to CA certificates that may be used"
        faults.append(Fault(PROGRAMMED, "Invalid", where, "has nothing to verify client certificates by", fix))
    lenient = checked.mode == "AllowInsecureFallback"
    mode = GatewayTLSMode.OPTIONAL_MUTUAL if lenient else GatewayTLSMode.MUTUAL
    return ServerTLSSettings(mode=mode, credential_names=tuple(names), ca_certificates=roots), faults


def _unknown_options(tls: ListenerTLS, path: str) -> Iterator[Fault]:
    for name, value in tls.options.items():
        known = (name == TERMINATE_MODE and value in _MODES) or (name, value) == (LISTENER_PROTOCOL, "auto-passthrough")
        if not known:
            message = f"{value[:80]!r} has no effect"
            yield Fault(RESOLVED_REFS, "UnsupportedOption", f"{path}.tls.options[{name[:100]}]", message, "remove it")


def _certificates(world: World, gateway: Object[Gateway], tls: ListenerTLS, path: str) -> tuple[list[str], list[Fault]]:
    """The SDS names of the Secrets that may be referred to. One that does not exist may come later."""
    names, faults = [], []
    owner = Owner("Gateway", gateway.meta.namespace)
    for index, reference in enumerate(tls.certificate_refs):
        at = f"{path}[{index}]"
        namespace = reference.namespace or gateway.meta.namespace
        if (reference.group, reference.kind) not in (("", "Secret"), ("core", "Secret")):
            message = f"{reference.kind[:80]!r} holds no certificates"
            faults.append(Fault(RESOLVED_REFS, "InvalidCertificateRef", f"{at}.kind", message, "name a Secret"))
            continue
        if not world.grants.allow(owner, "", "Secret", namespace, reference.name):
            message = f"Secret {namespace}/{reference.name} may not be referred to from namespace {owner.namespace}"
            fix = f"write a ReferenceGrant in namespace {namespace}"
            faults.append(Fault(RESOLVED_REFS, "RefNotPermitted", at, message, fix))
            continue
        names.append(SECRET_NAME.format(namespace, reference.name))
        secret = _secret(world, namespace, reference.name)
        if secret is None or secret.pair is None:
            message = f"there is no usable Secret {namespace}/{reference.name}"
            fix = "create it with tls.crt and tls.key"
            faults.append(Fault(RESOLVED_REFS, "InvalidCertificateRef", at, message, fix))
    return names, faults


def _secret(world: World, namespace: str, name: str) -> Secret | None:
    item = world.table(Kind.SECRET).get(NamespacedName(namespace, name))
    return item.spec if isinstance(item, Object) and isinstance(item.spec, Secret) else None


def _client_validation(gateway: Gateway, said: Listener) -> tuple[str, ClientValidation] | None:
    """How client certificates are verified: what the listener says, else its port, else the Gateway; with the path."""
    if said.tls is not None and said.tls.frontend_validation is not None:
        return "{}.tls.frontendValidation", said.tls.frontend_validation
    frontend = gateway.tls.frontend if gateway.tls is not None else None
    if frontend is None:
        return None
    for index, item in enumerate(frontend.per_port):
        if item.port == said.port:
            found = item.tls.validation
            return (f"spec.tls.frontend.perPort[{index}].tls.validation", found) if found is not None else None
    found = frontend.default.validation
    return ("spec.tls.frontend.default.validation", found) if found is not None else None


def _client_roots(world: World, gateway: Object[Gateway], said: ClientValidation, path: str) -> tuple[str, list[Fault]]:
    owner = Owner("Gateway", gateway.meta.namespace)
    allowed, faults = [], []
    for index, reference in enumerate(said.ca_certificate_refs):
        namespace = reference.namespace or owner.namespace
        if world.grants.allow(owner, reference.group, reference.kind, namespace, reference.name):
            allowed.append((reference, namespace, f"{path}.caCertificateRefs[{index}]"))
            continue
        message = f"{reference.kind} {namespace}/{reference.name} may not be referred to"
        at, fix = f"{path}.caCertificateRefs[{index}]", f"write a ReferenceGrant in namespace {namespace}"
        faults.append(Fault(RESOLVED_REFS, "RefNotPermitted", at, message, fix))
    roots, more = ca_certificates(world, allowed)
    return roots, [*faults, *more]


def ca_certificates(
    world: World, references: Sequence[tuple[ObjectReference | LocalReference, str, str]]
) -> tuple[str, list[Fault]]:
    """The CA certificates in ConfigMaps or Secrets, as one PEM text; `references` come with namespace and path."""
    found, faults = [], []
    for reference, namespace, path in references:
        text = _roots(world, reference, namespace)
        if text is None:
            kind = f"{reference.group}/{reference.kind}".strip("/")[:100]
            message = f"{kind!r} holds no CA certificates"
            faults.append(Fault(RESOLVED_REFS, "InvalidKind", f"{path}.kind", message, "name a ConfigMap"))
            continue
        try:
            read_certificates(text.encode())
        except ValueError:
            message = f"{reference.kind} {namespace}/{reference.name} has no certificates as {CA_ENTRY}"
            fix = f"create it with {CA_ENTRY}, in PEM form"
            faults.append(Fault(RESOLVED_REFS, "InvalidCACertificateRef", path, message, fix))
            continue
        found.append(text.strip() + "\n")
    return "".join(found), faults


def _roots(world: World, reference: ObjectReference | LocalReference, namespace: str) -> str | None:
    """The text that should be certificates; None for kinds that hold none."""
    if reference.group not in ("", "core"):
        return None
    if reference.kind == "ConfigMap":
        item = world.table(Kind.CONFIG_MAP).get(NamespacedName(namespace, reference.name))
        held = item.spec if isinstance(item, Object) else None
        return held.data.get(CA_ENTRY, "") if isinstance(held, ConfigMap) else ""
    if reference.kind == "Secret":
        secret = _secret(world, namespace, reference.name)
        return secret.roots.decode(errors="replace") if secret is not None else ""
    return None
