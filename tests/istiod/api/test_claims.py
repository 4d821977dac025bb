"""Claims among the headers of a VirtualService."""

from __future__ import annotations

import pytest

from istiod.api.claims import routing_claim
from istiod.api.parse import parse_documents

RULE = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: shop, namespace: apps}}
spec:
  hosts: [shop.example.com]
  gateways: {gateways}
  http:
  - match: [{{{field}: {{"{name}": {{exact: admin}}}}}}]
    route: [{{destination: {{host: b}}}}]
"""


@pytest.mark.parametrize(
    ("name", "claim"),
    [
        ("@request.auth.claims.groups", ("groups",)),
        ("@request.auth.claims.name.given", ("name", "given")),
        ("@request.auth.claims[name][given]", ("name", "given")),
        ("@request.auth.claims[https://a.com/groups]", ("https://a.com/groups",)),
        ("@Request.Auth.Claims.Groups", ("Groups",)),
        ("@request.auth.claims", ()),
        ("@request.auth.claims.", ()),
        ("@request.auth.claims[]", ()),
        ("@request.auth.claims-groups", ()),
        ("@request.auth.claims.a..b", ()),
        ("@request.auth.claims[a][]", ()),
        ("x-group", None),
        ("request.auth.claims.groups", None),
    ],
)
def test_name_of_a_claim(name: str, claim: tuple[str, ...] | None) -> None:
    assert routing_claim(name) == claim


@pytest.mark.parametrize(
    ("gateways", "field", "name", "message"),
    [
        ("[web]", "headers", "@request.auth.claims", "names no claim"),
        ("[web]", "withoutHeaders", "@request.auth.claims[a][]", "names no claim"),
        ("[]", "headers", "@request.auth.claims.sub", "tests a claim, which only gateways know"),
        ("[web, mesh]", "headers", "@request.auth.claims.sub", "tests a claim, which only gateways know"),
        ("[mesh]", "withoutHeaders", "@request.auth.claims.sub", "tests a claim, which only gateways know"),
    ],
)
def test_claims_that_cannot_be_tested(gateways: str, field: str, name: str, message: str) -> None:
    parsed = parse_documents(RULE.format(gateways=gateways, field=field, name=name), "f")
    assert parsed.objects == ()
    (finding,) = parsed.findings
    assert (finding.path, finding.message) == (f"spec.http[0].match[0].{field}[{name}]", message)


def test_claims_at_a_gateway() -> None:
    parsed = parse_documents(RULE.format(gateways="[web]", field="headers", name="@request.auth.claims.sub"), "f")
    assert parsed.findings == ()
    assert len(parsed.objects) == 1
