"""Secrets that come late, and those that are known never to come."""

from __future__ import annotations

import pytest
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse, DiscoveryResponse

from istiod.encode.resource import SECRET, Resource, frame_resource
from istiod.xds.session import Request, Session


def secret(name: str, content: str) -> dict[str, Resource]:
    return {name: frame_resource(SECRET, name, content.encode())}


class Talk:
    """A client that acknowledges everything."""

    def __init__(self, delta: bool) -> None:
        self.session = Session(delta)
        self.delta = delta
        self.names: tuple[str, ...] = ()

    def ask(self, *names: str) -> None:
        self.names = names
        self.session.on_request(Request(SECRET, names))

    def said(self) -> tuple[list[str], list[str]]:
        """Names that came, and names that there is nothing of."""
        came: list[str] = []
        gone: list[str] = []
        for _, raw in self.session.take():
            if self.delta:
                answer = DeltaDiscoveryResponse.FromString(raw)
                came += [item.name for item in answer.resources]
                gone += answer.removed_resources
                self.session.on_request(Request(SECRET, nonce=answer.nonce))
            else:
                full = DiscoveryResponse.FromString(raw)
                came += [item.value.decode() for item in full.resources]
                self.session.on_request(Request(SECRET, self.names, nonce=full.nonce))
        return sorted(came), sorted(gone)


def test_a_delta_client_is_told_what_is_not_there() -> None:
    talk = Talk(delta=True)
    talk.ask("own", "web", "late")
    assert talk.said() == ([], [])
    talk.session.on_secrets(secret("own", "1"))
    assert talk.said() == (["own"], [])
    talk.session.on_secrets(secret("own", "1"), frozenset({"web"}))
    assert talk.said() == ([], ["web"])
    talk.session.on_secrets(secret("own", "1"), frozenset({"web"}))
    assert talk.said() == ([], [])
    talk.session.on_secrets({**secret("own", "1"), **secret("web", "1")})
    assert talk.said() == (["web"], [])


def test_what_nobody_asks_for_is_not_said_to_be_absent() -> None:
    talk = Talk(delta=True)
    talk.ask("own")
    talk.session.on_secrets(secret("own", "1"), frozenset({"web"}))
    assert talk.said() == (["own"], [])


def test_who_asks_late_is_told_too() -> None:
    talk = Talk(delta=True)
    talk.ask("own")
    talk.session.on_secrets(secret("own", "1"), frozenset({"web"}))
    talk.said()
    talk.ask("web")
    assert talk.said() == ([], ["web"])


@pytest.mark.parametrize("first", [True, False])
def test_state_of_the_world_has_no_word_for_it(first: bool) -> None:
    talk = Talk(delta=False)
    if first:
        talk.ask("own", "web")
    talk.session.on_secrets(secret("own", "own"), frozenset({"web"}))
    if not first:
        talk.ask("own", "web")
    assert talk.said() == (["own"], [])
    talk.session.on_secrets({**secret("own", "own"), **secret("web", "web")})
    assert talk.said() == (["web"], [])
