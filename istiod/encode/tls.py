"""TLS contexts -> Envoy transport sockets."""

from __future__ import annotations

from envoy.config.core.v3.base_pb2 import TransportSocket
from envoy.extensions.transport_sockets.raw_buffer.v3.raw_buffer_pb2 import RawBuffer
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import SubjectAltNameMatcher, TlsParameters
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import SdsSecretConfig
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext, DownstreamTlsContext, UpstreamTlsContext

from istiod.encode.wire import pack, secret_source, string_matcher
from istiod.resolve.specs.match import StringMatch
from istiod.resolve.specs.tls import DownstreamTls, SecretRef, SecretSource, UpstreamTls

TLS = "envoy.transport_sockets.tls"
RAW = "envoy.transport_sockets.raw_buffer"
_SPIFFE = "spiffe://"  # such a name is a URI, whatever else a list may hold
_SAN_TYPES = {
    "URI": (SubjectAltNameMatcher.URI,),
    "DNS": (SubjectAltNameMatcher.DNS,),
    "ANY": (SubjectAltNameMatcher.DNS, SubjectAltNameMatcher.URI),
}


def raw_socket() -> TransportSocket:
    """Plaintext."""
    socket = TransportSocket(name=RAW)
    socket.typed_config.CopyFrom(pack(RawBuffer()))
    return socket


def upstream_socket(tls: UpstreamTls) -> TransportSocket:
    """The client side."""
    context = UpstreamTlsContext(
        sni=tls.sni,
        auto_host_sni=tls.auto_sni,
        auto_sni_san_validation=tls.auto_san_validation and not tls.san_matches,  # it would replace those
    )
    _common(context.common_tls_context, tls.alpn, tls.minimum, tls.maximum)
    context.common_tls_context.tls_params.cipher_suites.extend(tls.cipher_suites)
    context.common_tls_context.tls_params.ecdh_curves.extend(tls.ecdh_curves)
    if tls.certificate is not None:
        context.common_tls_context.tls_certificate_sds_secret_configs.append(_secret(tls.certificate))
    _validation(context.common_tls_context, tls.roots, tls.san_matches, tls.san_type)
    socket = TransportSocket(name=TLS)
    socket.typed_config.CopyFrom(pack(context))
    return socket


def downstream_socket(tls: DownstreamTls) -> TransportSocket:
    """The server side."""
    context = DownstreamTlsContext()
    common = context.common_tls_context
    _common(common, tls.alpn, tls.minimum, tls.maximum)
    common.tls_params.cipher_suites.extend(tls.cipher_suites)
    common.tls_params.ecdh_curves.extend(tls.ecdh_curves)
    for certificate in tls.certificates:
        common.tls_certificate_sds_secret_configs.append(_secret(certificate))
    _validation(common, tls.roots, tls.san_matches, "ANY")
    if tls.roots is not None:
        inline = tls.roots.source is SecretSource.INLINE
        pins = common.validation_context if inline else common.combined_validation_context.default_validation_context
        pins.verify_certificate_hash.extend(tls.certificate_hashes)
        pins.verify_certificate_spki.extend(tls.key_hashes)
    context.require_client_certificate.value = tls.require_client_certificate
    socket = TransportSocket(name=TLS)
    socket.typed_config.CopyFrom(pack(context))
    return socket


def _common(common: CommonTlsContext, alpn: tuple[str, ...], minimum: str, maximum: str) -> None:
    common.alpn_protocols.extend(alpn)
    if minimum:
        common.tls_params.tls_minimum_protocol_version = TlsParameters.TlsProtocol.Value(minimum)
    if maximum:
        common.tls_params.tls_maximum_protocol_version = TlsParameters.TlsProtocol.Value(maximum)


def _validation(common: CommonTlsContext, roots: SecretRef | None, sans: tuple[StringMatch, ...], kind: str) -> None:
    if roots is None:
        return
    if roots.source is SecretSource.INLINE:
        default = common.validation_context
        default.trusted_ca.inline_string = roots.name
    else:
        combined = common.combined_validation_context
        combined.validation_context_sds_secret_config.CopyFrom(_secret(roots))
        default = combined.default_validation_context
    default.SetInParent()
    for match in sans:
        for san_type in _SAN_TYPES["URI" if match.value.startswith(_SPIFFE) else kind]:
            entry = default.match_typed_subject_alt_names.add(san_type=san_type)
            entry.matcher.CopyFrom(string_matcher(match))


def _secret(ref: SecretRef) -> SdsSecretConfig:
    config = SdsSecretConfig(name=ref.name)
    config.sds_config.CopyFrom(secret_source(ref.source, ref.optional))
    return config
