"""TLS settings of servers, and of the mesh where they are silent."""

from __future__ import annotations

from istiod.api.gateway import ServerTLSSettings
from istiod.api.meshconfig import MeshConfig
from istiod.resolve.server_tls import ending_tls, mesh_tls

MESH = MeshConfig.model_validate(
    {
        "meshMTLS": {"minProtocolVersion": "TLSV1_3", "cipherSuites": ["ECDHE-RSA-AES256-GCM-SHA384", "NOPE"]},
        "tlsDefaults": {
            "minProtocolVersion": "TLSV1_3",
            "ecdhCurves": ["P-256", "P-1"],
            "cipherSuites": ["ECDHE-RSA-AES128-GCM-SHA256"],
        },
    }
)
FILES = {"mode": "SIMPLE", "serverCertificate": "/c", "privateKey": "/k"}


def settings(**fields) -> ServerTLSSettings:
    return ServerTLSSettings.model_validate({**FILES, **fields})


def test_the_meshs_own_side(view):
    found = mesh_tls(MESH, view(), http=True)
    assert (found.minimum, found.cipher_suites) == ("TLSv1_3", ("ECDHE-RSA-AES256-GCM-SHA384",))
    assert mesh_tls(MeshConfig(), view(), http=True).minimum == "TLSv1_2"


def test_the_meshs_defaults_fill_what_a_server_leaves_out(view):
    found = ending_tls(MESH, view(), settings(), http=False)
    assert (found.minimum, found.ecdh_curves) == ("TLSv1_3", ("P-256",))
    assert found.cipher_suites == ("ECDHE-RSA-AES128-GCM-SHA256",)
    own = ending_tls(
        MESH, view(), settings(minProtocolVersion="TLSV1_2", cipherSuites=["ECDHE-RSA-AES256-GCM-SHA384"]), http=False
    )
    assert (own.minimum, own.cipher_suites) == ("TLSv1_2", ("ECDHE-RSA-AES256-GCM-SHA384",))


def test_mutual_tls_of_the_mesh_may_be_narrowed_at_a_gateway(view):
    said = settings(mode="ISTIO_MUTUAL", subjectAltNames=["spiffe://a/ns/b/sa/c"])
    found = ending_tls(MeshConfig(), view(), said, http=True)
    assert [match.value for match in found.san_matches] == ["spiffe://a/ns/b/sa/c"]
    assert (found.roots.name, found.require_client_certificate) == ("ROOTCA", True)
