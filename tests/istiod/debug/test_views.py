from __future__ import annotations

import time

import msgspec
import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster

from federation.model.errors import InvalidInput
from istiod.debug.views import config_report, proxy_report
from istiod.encode.resource import CLUSTER, SECRET, frame_resource
from istiod.encode.secrets import encode_certificate
from istiod.view.proxy import Proxy, ProxyType
from istiod.xds.delivery import Delivery
from istiod.xds.session import Request
from istiod.xds.stream import Stream

UPSTREAM = frame_resource(CLUSTER, "up", Cluster(name="up", type=Cluster.EDS).SerializeToString())


def connected(name: str = "web-1", number: int = 1) -> Stream:
    stream = Stream(True, number)
    node = f"sidecar~10.0.0.{number}~{name}.shop~shop.svc"
    stream.proxy = Proxy(node, ProxyType.SIDECAR, name, "shop", "sa", "shop.svc", (f"10.0.0.{number}",), "east", "net")
    stream.request(Request(CLUSTER))
    stream.deliver(Delivery({CLUSTER: {"up": UPSTREAM}}, revision=4))
    return stream


def test_configuration_of_a_proxy_is_readable() -> None:
    report = config_report([connected()], "web-1", "", "east", 0.0, 0.0)
    (cluster,) = report.resources["clusters"]
    assert (cluster.name, cluster.version) == ("up", UPSTREAM.version)
    assert cluster.content == {"name": "up", "type": "EDS"}


def test_private_keys_are_never_shown() -> None:
    stream = connected()
    stream.request(Request(SECRET, ("default",)))
    stream.secrets({"default": encode_certificate("default", b"PRIVATE-KEY", b"CHAIN")})
    report = config_report([stream], "web-1.shop", "secrets", "east", 0.0, 0.0)
    assert [(item.name, item.content) for item in report.resources["secrets"]] == [("default", None)]
    assert set(report.resources) == {"secrets"}
    text = msgspec.json.encode(report)
    assert b"PRIVATE" not in text
    assert b"UFJJVkFURS1LRVk" not in text  # in base64


async def test_behind_is_counted_from_the_first_thing_missed() -> None:
    stream = connected()
    now = time.monotonic()
    assert proxy_report(stream, now + 3, 0.0).behind_seconds == pytest.approx(3, abs=0.5)
    assert proxy_report(stream, now, 0.0).state == "stale"
    (response,) = await stream.outgoing()
    assert response
    stream.request(Request(CLUSTER, nonce="1-1"))
    seen = proxy_report(stream, now + 3, 0.0)
    assert (seen.state, seen.behind_seconds, seen.types[0].acked_revision) == ("synced", 0.0, 4)


def test_certificate_s_life() -> None:
    stream = connected()
    assert proxy_report(stream, 0.0, 0.0).certificate_seconds_left is None
    stream.certificate_issued, stream.certificate_expires = 1_000.0, 4_600.0
    seen = proxy_report(stream, 0.0, 2_000.0)
    assert (seen.certificate_seconds_left, seen.certificate_life_seconds) == (2_600.0, 3_600.0)


@pytest.mark.parametrize(
    ("wanted", "kind", "words"),
    [("web-9", "", "web-1.shop~"), ("same", "", "2 connections"), ("web-1", "filters", "clusters, endpoints")],
)
def test_questions_without_an_answer(wanted: str, kind: str, words: str) -> None:
    streams = [connected(), connected("same", 2), connected("same", 3)]
    with pytest.raises(InvalidInput, match=words):
        config_report(streams, wanted, kind, "east", 0.0, 0.0)
