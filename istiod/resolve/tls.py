"""The client side of TLS: what a proxy does towards one upstream, and whether an endpoint takes mutual TLS.

Rules: Istio's auto mutual TLS and `ClientTLSSettings`; names of SDS secrets as Istio's agents serve them.
"""

from __future__ import annotations

from collections.abc import Iterable

from federation.model.sni import OutboundName
from istiod.api.destinationrule import ClientTLSSettings, TLSMode
from istiod.resolve.specs.cluster import HttpVersion
from istiod.resolve.specs.match import MatchKind, StringMatch
from istiod.resolve.specs.tls import SecretRef, SecretSource, UpstreamTls
from istiod.view.proxy import ProxyView

WORKLOAD_CERTIFICATE = "default"
ROOTS = "ROOTCA"
SYSTEM_ROOTS = "system"
PEM = "-----BEGIN"

# How Istio writes the SDS names of Secrets; `credentialName` may be written so too.
SECRET, GATEWAY_SECRET = "kubernetes://", "kubernetes-gateway://"
CA_SUFFIX = "-cacert"
_SCHEMES = (SECRET, GATEWAY_SECRET, "configmap://", "builtin://", "invalid://")

# Offered by the client so that the server's chains tell mesh traffic from an application's own TLS. Istio's names never
# go on the wire as a server's answer. HTTP/2 is negotiated by its real name; else servers go by the first bytes,
# so that an upstream of HTTP/1.1 that an EnvoyFilter makes HTTP/2 is understood.
ALPN_TCP = ("istio",)
ALPN_HTTP1 = ("istio-http/1.1",)
ALPN_HTTP2 = ("istio-h2", "h2")


def secret_source(view: ProxyView) -> SecretSource:
    """Where this class of proxies gets its workload certificate."""
    return SecretSource.ADS if view.agentless else SecretSource.SDS_GRPC


def mesh_alpn(version: HttpVersion) -> tuple[str, ...]:
    """What a client offers inside mutual TLS to an upstream of that HTTP version."""
    match version:
        case HttpVersion.HTTP1:
            return ALPN_HTTP1
        case HttpVersion.HTTP2:
            return ALPN_HTTP2
        case _:
            return ALPN_TCP


def mutual_tls(view: ProxyView, name: OutboundName, identities: Iterable[str], version: HttpVersion) -> UpstreamTls:
    """Mesh mutual TLS to one port of a service whose endpoints may show any of `identities` (none = any of the
    mesh).
    """
    source = secret_source(view)
    return UpstreamTls(
        certificate=SecretRef(WORKLOAD_CERTIFICATE, source),
        roots=SecretRef(ROOTS, source),
        sni=name.format_sni(),
        san_matches=tuple(StringMatch(MatchKind.EXACT, identity) for identity in sorted(set(identities))),
        alpn=mesh_alpn(version),
    )


def from_settings(
    view: ProxyView, settings: ClientTLSSettings, name: OutboundName, identities: Iterable[str], version: HttpVersion
) -> UpstreamTls | None:
    """What a DestinationRule's `tls` asks for; None for DISABLE. `identities` are those the server may show where the
    rule names none.
    """
    sans = settings.subject_alt_names or tuple(identities)
    match settings.mode:
        case TLSMode.DISABLE:
            return None
        case TLSMode.ISTIO_MUTUAL:
            mutual = mutual_tls(view, name, sans, version)
            return mutual if not settings.sni else _with_sni(mutual, settings.sni)
    verified = not settings.insecure_skip_verify
    return UpstreamTls(
        certificate=_certificate(view, settings) if settings.mode is TLSMode.MUTUAL else None,
        roots=_roots(view, settings) if verified else None,
        sni=settings.sni,
        san_matches=tuple(StringMatch(MatchKind.EXACT, san) for san in sans),
        san_type="ANY",
        alpn=("h2",) if version is HttpVersion.HTTP2 else ("http/1.1",) if version is HttpVersion.HTTP1 else (),
        auto_sni=not settings.sni,
        auto_san_validation=verified and not settings.sni and not settings.subject_alt_names,
    )


def _with_sni(tls: UpstreamTls, sni: str) -> UpstreamTls:
    return UpstreamTls(tls.certificate, tls.roots, sni, tls.san_matches, tls.san_type, tls.alpn)


def credential(name: str) -> SecretRef:
    """A Kubernetes Secret, which istiod serves (`istiod.resolve.credentials` says to whom)."""
    return SecretRef(name if name.startswith(_SCHEMES) else f"{SECRET}{name}", SecretSource.ADS, optional=True)


def credential_roots(name: str) -> SecretRef:
    """The certificates to trust in a Secret, or (`configmap://`) in a ConfigMap, that a field names for just that."""
    return credential(name if name.startswith("configmap://") else name.removesuffix(CA_SUFFIX) + CA_SUFFIX)


def certificate_files(view: ProxyView, certificate: str, key: str) -> SecretRef:
    """A certificate and its key by the paths that the proxy's agent reads."""
    return SecretRef(f"file-cert:{certificate}~{key}", secret_source(view), optional=True)


def root_file(view: ProxyView, path: str) -> SecretRef:
    """CA certificates by path; `system` means those of the operating system, and a PEM text itself."""
    if path.startswith(PEM):
        return SecretRef(path, SecretSource.INLINE)
    return SecretRef(f"file-root:{path}", secret_source(view), optional=True)


def _certificate(view: ProxyView, settings: ClientTLSSettings) -> SecretRef | None:
    if settings.credential_name:
        return credential(settings.credential_name)
    if settings.client_certificate and settings.private_key:
        return certificate_files(view, settings.client_certificate, settings.private_key)
    return None


def _roots(view: ProxyView, settings: ClientTLSSettings) -> SecretRef:
    if settings.credential_name:
        return credential(f"{settings.credential_name}{CA_SUFFIX}")
    return root_file(view, settings.ca_certificates or SYSTEM_ROOTS)
