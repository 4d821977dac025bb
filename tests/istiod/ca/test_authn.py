from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from federation.model.errors import Denied
from federation.model.identity import SpiffeId
from istiod.ca.authn import Authenticator, check_claim
from istiod.view.proxy import Proxy, ProxyType

Token = Callable[..., str]


@dataclass
class Call:
    """What gRPC says of a call: its metadata."""

    metadata: tuple[tuple[str, Any], ...] | None

    def invocation_metadata(self) -> tuple[tuple[str, Any], ...] | None:
        return self.metadata


def bearing(token: str) -> Call:
    return Call((("user-agent", "x"), ("authorization", f"Bearer {token}")))


def proxy(namespace: str = "shop", account: str = "web") -> Proxy:
    return Proxy("id", ProxyType.SIDECAR, "web-1", namespace, account, "shop.svc.cluster.local", ("10.0.0.1",))


@pytest.fixture
def authenticator(key_file: Path) -> Authenticator:
    return Authenticator(key_file, "west", "west.m1")


def test_the_identity_is_the_tokens_in_our_trust_domain(authenticator: Authenticator, token: Token) -> None:
    assert authenticator.identify(bearing(token())) == SpiffeId("west.m1", "shop", "web")
    assert authenticator.identify(bearing(token("a", "b"))) == SpiffeId("west.m1", "a", "b")


@pytest.mark.parametrize("word", ["Bearer ", "bearer ", "BEARER  "])
def test_the_scheme_has_no_case(authenticator: Authenticator, token: Token, word: str) -> None:
    call = Call((("authorization", word + token()),))
    assert authenticator.identify(call) == SpiffeId("west.m1", "shop", "web")


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        (),
        (("authorization", ""),),
        (("authorization", "Bearer "),),
        (("authorization", "Basic d2ViOndlYg=="),),
        (("authorization-bin", b"Bearer x"),),
        (("authorization", b"Bearer x"),),
        (("clusterid", "west"),),
    ],
)
def test_who_shows_nothing_is_nobody(authenticator: Authenticator, metadata: Any) -> None:
    with pytest.raises(Denied, match="no credentials"):
        authenticator.identify(Call(metadata))


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"cluster": "east"}, "is of cluster 'east'"), ({"seconds": -5}, "ran out 5 s ago")],
)
def test_a_token_that_does_not_hold_is_refused(
    authenticator: Authenticator, token: Token, change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Denied, match=reason):
        authenticator.identify(bearing(token(**change)))


def test_without_a_key_nobody_can_be_verified(token: Token, tmp_path: Path) -> None:
    with pytest.raises(Denied, match="--workload-token-key"):
        Authenticator(None, "west", "west.m1").identify(bearing(token()))
    with pytest.raises(Denied, match="cannot be read: No such file"):
        Authenticator(tmp_path / "absent", "west", "west.m1").identify(bearing(token()))


def test_a_damaged_key_admits_nobody_and_a_mended_one_all(
    authenticator: Authenticator, key_file: Path, token: Token
) -> None:
    good = key_file.read_bytes()
    key_file.write_bytes(good[:40])
    with pytest.raises(Denied, match="key of workload tokens is damaged"):
        authenticator.identify(bearing(token()))
    key_file.write_bytes(good)
    assert authenticator.identify(bearing(token()))


async def test_a_stream_has_the_identity_of_its_token(authenticator: Authenticator, token: Token) -> None:
    assert await authenticator.authorize(bearing(token()), proxy(), True) == "spiffe://west.m1/ns/shop/sa/web"


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        (proxy(namespace="kube-system"), "claims namespace 'kube-system', its credentials are for 'shop'"),
        (proxy(account="admin"), "claims service account 'admin', its credentials are for 'web'"),
        (proxy(namespace=""), "claims namespace ''"),
    ],
)
async def test_a_stream_cannot_claim_to_be_somebody_else(
    authenticator: Authenticator, token: Token, claim: Proxy, reason: str
) -> None:
    with pytest.raises(Denied, match=reason):
        await authenticator.authorize(bearing(token()), claim, True)
    with pytest.raises(Denied, match=reason):
        check_claim(SpiffeId("west.m1", "shop", "web"), claim)


async def test_a_service_account_left_out_is_no_claim(authenticator: Authenticator, token: Token) -> None:
    identity = await authenticator.authorize(bearing(token()), proxy(account=""), True)
    assert identity == "spiffe://west.m1/ns/shop/sa/web"


async def test_over_tls_nobody_is_anonymous(authenticator: Authenticator) -> None:
    with pytest.raises(Denied, match="no credentials"):
        await authenticator.authorize(Call(()), proxy(), True)


async def test_over_plaintext_everybody_is(authenticator: Authenticator, token: Token) -> None:
    """Whatever is shown there: a token that crossed the network in plaintext proves nothing."""
    assert await authenticator.authorize(Call(()), proxy(), False) == ""
    assert await authenticator.authorize(bearing(token()), proxy(), False) == ""
