from __future__ import annotations

import asyncio
import time

import pytest
from prometheus_client import REGISTRY

from istiod.encode.resource import CLUSTER, LISTENER, Resource, frame_resource
from istiod.xds.delivery import Delivery
from istiod.xds.session import Request
from istiod.xds.stream import Stream

UP = frame_resource(CLUSTER, "up", b"1")
ROOT = frame_resource(LISTENER, "root", b"1")


def count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.fixture
def stream() -> Stream:
    """A client that has one upstream and one listener, and nothing to wait for."""
    made = Stream(True, 7)
    made.request(Request(CLUSTER))
    made.request(Request(LISTENER))
    made.deliver(Delivery({CLUSTER: {"up": UP}, LISTENER: {"root": ROOT}}))
    return made


async def settle(stream: Stream) -> None:
    assert len(await stream.outgoing()) == 2
    stream.written()
    for number, type_url in enumerate((CLUSTER, LISTENER), 1):
        stream.request(Request(type_url, nonce=f"7-{number}"))


def changed(**resources: Resource) -> Delivery:
    """Another content of these resources, and nothing else any more."""
    now = {CLUSTER: {}, LISTENER: {}} | {CLUSTER if n == "up" else LISTENER: {n: r} for n, r in resources.items()}
    before = {CLUSTER: "up", LISTENER: "root"}
    return Delivery(
        now,
        {url: frozenset(now[url]) for url in before if now[url]},
        {url: frozenset({name}) for url, name in before.items() if not now[url]},
    )


async def test_a_writer_waits_until_there_is_something_to_write(stream: Stream) -> None:
    await settle(stream)
    writer = asyncio.create_task(stream.outgoing())
    stream.deliver(Delivery({CLUSTER: {"up": UP}, LISTENER: {"root": ROOT}}))
    await asyncio.sleep(0)
    assert not writer.done()
    stream.deliver(changed(up=frame_resource(CLUSTER, "up", b"2"), root=frame_resource(LISTENER, "root", b"2")))
    assert len(await writer) == 2


async def test_responses_and_refusals_are_counted_by_type(stream: Stream) -> None:
    sent, refused = "pilot_xds_pushes_total", "pilot_total_xds_rejects_total"
    before = [
        count(sent, type="cds"),
        count(sent, type="lds"),
        count(refused, type="lds"),
        count(refused, type="other"),
    ]
    await stream.outgoing()
    stream.request(Request(LISTENER, nonce="7-2", error="no"))
    stream.request(Request("type.googleapis.com/never.heard.Of", error="no"))
    now = [count(sent, type="cds"), count(sent, type="lds"), count(refused, type="lds"), count(refused, type="other")]
    assert [a - b for a, b in zip(now, before, strict=True)] == [1, 1, 1, 1]


async def test_convergence_ends_with_the_last_response_of_a_change(stream: Stream) -> None:
    rounds, seconds = "pilot_proxy_convergence_time_count", "pilot_proxy_convergence_time_sum"
    before, spent = count(rounds), count(seconds)
    await settle(stream)
    assert count(rounds) == before  # what a new client gets is no change
    stream.deliver(changed(root=frame_resource(LISTENER, "root", b"2")), time.monotonic() - 3)
    assert len(await stream.outgoing()) == 1  # the upstream goes when the listener is acknowledged
    stream.written()
    assert count(rounds) == before
    stream.request(Request(LISTENER, nonce="7-3"))
    assert len(await stream.outgoing()) == 1
    stream.written()
    assert count(rounds) == before + 1
    assert count(seconds) - spent == pytest.approx(3, abs=0.5)


async def test_a_change_that_a_proxy_does_not_see_is_none_to_converge_to(stream: Stream) -> None:
    seconds = "pilot_proxy_convergence_time_sum"
    await settle(stream)
    before = count(seconds)
    writer = asyncio.create_task(stream.outgoing())
    stream.deliver(Delivery({CLUSTER: {"up": UP}, LISTENER: {"root": ROOT}}), time.monotonic() - 100)
    await asyncio.sleep(0)
    stream.deliver(changed(up=frame_resource(CLUSTER, "up", b"2"), root=ROOT), time.monotonic())
    await writer
    stream.written()
    assert count(seconds) - before < 1
