"""The server side of TLS: of the mesh's mutual TLS, and of TLS that ends at a gateway or at a Sidecar's own port.

Input: what a server says (`ServerTLSSettings`) and the mesh's settings where it is silent. Knows nothing of chains or
routes. Rules: Gateway reference, `ServerTLSSettings`; MeshConfig `meshMTLS` and `tlsDefaults`.
"""

from __future__ import annotations

from collections.abc import Iterable

from istiod.api.gateway import CIPHER_SUITES, GatewayTLSMode, ServerTLSSettings, TLSProtocol
from istiod.api.meshconfig import CURVES, MeshConfig
from istiod.resolve.connection import SERVER_HTTP
from istiod.resolve.specs.match import MatchKind, StringMatch
from istiod.resolve.specs.tls import DownstreamTls, SecretRef
from istiod.resolve.tls import (
    CA_SUFFIX,
    PEM,
    ROOTS,
    WORKLOAD_CERTIFICATE,
    certificate_files,
    credential,
    credential_roots,
    root_file,
    secret_source,
)
from istiod.view.proxy import ProxyView

LEAST_VERSION = "TLSv1_2"


def mesh_tls(
    mesh: MeshConfig, view: ProxyView, http: bool, sans: Iterable[str] = (), domains: Iterable[str] = ()
) -> DownstreamTls:
    """The mesh's server side: our certificate, the caller's is required, of one of these names or trust domains. ALPN
    holds real protocols only.
    """
    source = secret_source(view)
    return DownstreamTls(
        certificates=(SecretRef(WORKLOAD_CERTIFICATE, source),),
        roots=SecretRef(ROOTS, source),
        require_client_certificate=True,
        alpn=SERVER_HTTP if http else (),
        san_matches=(*_exactly(sans), *(StringMatch(MatchKind.PREFIX, f"spiffe://{domain}/") for domain in domains)),
        minimum=_version(mesh.mesh_mtls.min_protocol_version, LEAST_VERSION),
        cipher_suites=known_suites(mesh.mesh_mtls.cipher_suites),
    )


def ending_tls(mesh: MeshConfig, view: ProxyView, said: ServerTLSSettings, http: bool) -> DownstreamTls:
    """TLS that ends at a server with these settings, which must be of a mode that ends it."""
    if said.mode is GatewayTLSMode.ISTIO_MUTUAL:
        return mesh_tls(mesh, view, http, said.subject_alt_names)
    mutual = said.mode in (GatewayTLSMode.MUTUAL, GatewayTLSMode.OPTIONAL_MUTUAL)
    defaults = mesh.tls_defaults
    return DownstreamTls(
        certificates=_certificates(view, said),
        roots=_roots(view, said) if mutual else None,
        require_client_certificate=said.mode is GatewayTLSMode.MUTUAL,
        alpn=SERVER_HTTP if http else (),
        san_matches=_exactly(said.subject_alt_names) if mutual else (),
        minimum=_version(said.min_protocol_version, _version(defaults.min_protocol_version, LEAST_VERSION)),
        maximum=_version(said.max_protocol_version, ""),
        certificate_hashes=said.verify_certificate_hash if mutual else (),
        key_hashes=said.verify_certificate_spki if mutual else (),
        cipher_suites=known_suites(said.cipher_suites or defaults.cipher_suites),
        ecdh_curves=known_curves(defaults.ecdh_curves),
    )


def known_suites(names: Iterable[str]) -> tuple[str, ...]:
    """The suites that Envoy takes, each once."""
    return tuple(dict.fromkeys(name for name in names if name in CIPHER_SUITES))


def known_curves(names: Iterable[str]) -> tuple[str, ...]:
    """The curves that Envoy takes, each once."""
    return tuple(dict.fromkeys(name for name in names if name in CURVES))


def _exactly(names: Iterable[str]) -> tuple[StringMatch, ...]:
    return tuple(StringMatch(MatchKind.EXACT, name) for name in names)


_VERSIONS = {f"TLSV1_{minor}": f"TLSv1_{minor}" for minor in range(4)}


def _version(said: TLSProtocol, otherwise: str) -> str:
    return _VERSIONS.get(said, otherwise)


def _certificates(view: ProxyView, said: ServerTLSSettings) -> tuple[SecretRef, ...]:
    names = said.credential_names or ((said.credential_name,) if said.credential_name else ())
    if names:
        return tuple(credential(name) for name in names)
    pairs = [(item.server_certificate, item.private_key) for item in said.tls_certificates]
    if said.server_certificate:
        pairs.append((said.server_certificate, said.private_key))
    return tuple(certificate_files(view, certificate, key) for certificate, key in pairs)


def _roots(view: ProxyView, said: ServerTLSSettings) -> SecretRef | None:
    if said.ca_certificates.startswith(PEM):
        return root_file(view, said.ca_certificates)
    if said.ca_cert_credential_name:
        return credential_roots(said.ca_cert_credential_name)
    if said.credential_name or said.credential_names:
        name = said.credential_name or said.credential_names[0]
        return credential(name + CA_SUFFIX)
    files = said.ca_certificates or next(
        (item.ca_certificates for item in said.tls_certificates if item.ca_certificates), ""
    )
    return root_file(view, files) if files else None
