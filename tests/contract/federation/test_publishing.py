"""From one cluster's exports to what another serves, over a real store with all its troubles."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from federation.etcd import Etcd
from federation.keys import (
    ClusterKey,
    CompleteKey,
    EndpointsKey,
    GatewayKey,
    HeartbeatKey,
    Key,
    Layout,
    ServiceRecordKey,
)
from federation.leaving import leave
from federation.model.names import ServiceKey
from federation.model.service import Origin, Protocol, Resolution, Service, ServicePort
from federation.model.workload import Endpoint, NetworkGateway
from federation.publish import Export, Exports
from federation.publisher import Publisher
from federation.records import ExportedService, GatewayRecord, encode_gateway
from federation.runtime.latest import Latest
from federation.schema import records_pb2 as pb
from federation.subscribe import FederationState, Subscriber
from federation.table import Peer

if TYPE_CHECKING:
    from tests.contract.federation.conftest import Mesh

Run = Callable[[Any], "asyncio.Task[None]"]
Until = Callable[..., Any]
LAYOUT = Layout("m1")
ECHO = ServiceRecordKey("west", "shop", "echo")
GROUPS = EndpointsKey("west", "shop", "echo", "0")


def exports(**pods: int) -> Exports:
    """West's exports: services by name with so many pods."""
    made = []
    for name, count in pods.items():
        key = ServiceKey(f"{name}.shop.svc.cluster.local", "shop")
        ports = (ServicePort(80, "http", Protocol.HTTP),)
        service = Service(key, name, ports, Resolution.ENDPOINTS, Origin.KUBERNETES)
        group = tuple(Endpoint(f"10.0.0.{n}", (("http", 8080),), network="net-west", mtls=True) for n in range(count))
        made.append(Export(ExportedService(service), group))
    return Exports("west", tuple(made))


class Publishing:
    """A publisher of west with its input."""

    def __init__(self, etcd: Etcd, first: Exports, instance: str = "one") -> None:
        self.exports = Latest(first)
        self.publisher = Publisher(LAYOUT, "west", etcd, self.exports, "test", instance)

    @property
    def up(self) -> bool:
        return self.publisher.state.connected


class Following:
    """A subscriber of east with its output."""

    def __init__(self, etcd: Etcd, directory: Path | None = None) -> None:
        self.subscriber = Subscriber(LAYOUT, "east", etcd, directory)

    @property
    def state(self) -> FederationState:
        return self.subscriber.state.peek() or FederationState()

    @property
    def west(self) -> Peer:
        return self.state.peers.get("west", Peer("west"))

    @property
    def weights(self) -> dict[str, int]:
        """How many pods of each service of west are served."""
        found = {key.name: 0 for key in self.west.services}
        for key, group in self.west.endpoints.items():
            found[key.name] = found.get(key.name, 0) + sum(endpoint.weight for endpoint in group)
        return found

    @property
    def codes(self) -> list[str]:
        return sorted(finding.code for finding in self.state.findings)


async def revisions(mesh: Mesh, *keys: Key) -> list[int]:
    found = [await mesh.etcd.get(LAYOUT.format(key)) for key in keys]
    return [kv.mod_revision if kv is not None else 0 for kv in found]


async def test_an_export_appears_at_the_peer(mesh: Mesh, run: Run, until: Until) -> None:
    west, east = await mesh.joined("west", "east")
    publishing, following = Publishing(west, exports(echo=3)), Following(east)
    run(following.subscriber.run())
    run(publishing.publisher.run())
    await until(lambda: following.weights == {"echo": 3})
    assert (following.west.network, following.west.trust_domain, following.west.state) == (
        "net-west", "west.m1", "member",
    )  # fmt: skip
    assert following.state.source == "store"
    assert following.codes == []
    publishing.exports.set(exports(echo=300, web=1))
    await until(lambda: following.weights == {"echo": 255 + 45, "web": 1})
    publishing.exports.set(exports(web=1))
    await until(lambda: following.weights == {"web": 1})
    publishing.exports.set(Exports("west"))
    await until(lambda: following.weights == {})
    assert publishing.publisher.state.error == ""


async def test_heartbeats_come_and_only_grow(mesh: Mesh, run: Run, until: Until) -> None:
    west, east = await mesh.joined("west", "east")
    publishing, following = Publishing(west, exports(echo=1)), Following(east)
    run(following.subscriber.run())
    run(publishing.publisher.run())
    await until(lambda: following.west.generation)
    seen, first = following.west.heartbeat_seen, following.west.generation
    await until(lambda: following.west.generation > first)
    assert following.west.heartbeat_seen > seen
    assert following.west.complete_generation > 0
    second = following.west.generation  # the peer may hear of it before the answer is back
    await until(lambda: publishing.publisher.state.generation >= second)


async def test_no_amount_of_news_keeps_the_heartbeat_back(mesh: Mesh, run: Run, until: Until) -> None:
    (west,) = await mesh.joined("west")
    publishing = Publishing(west, exports(echo=1))

    async def keep_setting() -> None:
        while True:
            publishing.exports.set(exports(echo=1))
            await asyncio.sleep(0)

    run(publishing.publisher.run())
    await until(lambda: publishing.up)
    run(keep_setting())
    first = publishing.publisher.state.generation
    await until(lambda: publishing.publisher.state.generation >= first + 1500)  # milliseconds, thus two beats
    assert publishing.publisher.state.error == ""


async def test_what_is_unchanged_is_never_written_again(mesh: Mesh, run: Run, until: Until) -> None:
    """Not by the same publisher, and not by the next one after a restart."""
    (west,) = await mesh.joined("west")
    gateway, foreign = GatewayKey("west", "gw-1"), HeartbeatKey("east")
    for key in (gateway, foreign):
        await mesh.etcd.put(LAYOUT.format(key), b"x")
    first = Publishing(west, exports(echo=3, web=1))
    task = run(first.publisher.run())
    await until(lambda: first.up)
    before = await revisions(mesh, ECHO, GROUPS, gateway, foreign)
    assert all(before)
    first.exports.set(exports(web=1, echo=3))
    beat = first.publisher.state.generation
    await until(lambda: first.publisher.state.generation > beat)
    task.cancel()
    second = Publishing(west, exports(echo=3, web=1), "two")
    run(second.publisher.run())
    await until(lambda: second.up)
    assert await revisions(mesh, ECHO, GROUPS, gateway, foreign) == before
    assert second.publisher.state.generation > beat


async def test_what_a_restarted_publisher_no_longer_exports_goes(mesh: Mesh, run: Run, until: Until) -> None:
    (west,) = await mesh.joined("west")
    first = Publishing(west, exports(echo=3, web=1))
    task = run(first.publisher.run())
    await until(lambda: first.up)
    task.cancel()
    second = Publishing(west, exports(web=1), "two")
    run(second.publisher.run())
    await until(lambda: second.up)
    assert await revisions(mesh, ECHO, GROUPS) == [0, 0]
    assert all(await revisions(mesh, ServiceRecordKey("west", "shop", "web")))


async def backup(mesh: Mesh) -> Path:
    path = mesh.directory / "backup.db"
    with path.open("wb") as file:
        async for piece in mesh.etcd.snapshot():
            file.write(piece)
    return path


async def test_a_store_restored_from_an_older_backup_takes_nothing_away(mesh: Mesh, run: Run, until: Until) -> None:
    west, east = await mesh.joined("west", "east")
    publishing, following = Publishing(west, exports(echo=1)), Following(east)
    run(following.subscriber.run())
    task = run(publishing.publisher.run())
    await until(lambda: following.weights == {"echo": 1})
    older = await backup(mesh)
    publishing.exports.set(exports(echo=5, web=2))
    await until(lambda: following.weights == {"echo": 5, "web": 2})
    generation = following.west.generation
    await until(lambda: following.west.generation > generation)
    task.cancel()  # the peer is away while the store is restored: nobody repairs it

    mesh.server.kill()
    await until(lambda: not following.state.connected)
    assert following.weights == {"echo": 5, "web": 2}
    await mesh.server.restore(older)
    mesh.server.start()
    await mesh.server.wait_ready()
    await until(lambda: following.state.connected)
    await until(lambda: following.codes == ["StoreOlderThanSeen"])
    assert following.weights == {"echo": 5, "web": 2}
    assert "older heartbeat" in following.west.held
    stored = await mesh.etcd.list_prefix(LAYOUT.owned_by("west"))
    assert LAYOUT.format(ServiceRecordKey("west", "shop", "web")) not in {kv.key for kv in stored.kvs}

    back = Publishing(west, exports(echo=5, web=2), "two")
    run(back.publisher.run())
    await until(lambda: following.codes == [])
    assert following.weights == {"echo": 5, "web": 2}
    back.exports.set(exports(echo=6))
    await until(lambda: following.weights == {"echo": 6})


async def test_a_running_publisher_repairs_a_restored_store(mesh: Mesh, run: Run, until: Until) -> None:
    (west,) = await mesh.joined("west")
    publishing = Publishing(west, exports(echo=1))
    run(publishing.publisher.run())
    await until(lambda: publishing.up)
    older = await backup(mesh)
    publishing.exports.set(exports(web=2))
    web = ServiceRecordKey("west", "shop", "web")

    async def stored() -> list[bool]:
        return [bool(revision) for revision in await revisions(mesh, ECHO, web)]

    async def is_repaired() -> bool:
        return await stored() == [False, True]

    await until(is_repaired)
    mesh.server.kill()
    await mesh.server.restore(older)
    mesh.server.start()
    await mesh.server.wait_ready()
    await until(is_repaired)
    await until(lambda: publishing.up)


async def test_an_emptied_store_takes_nothing_away(mesh: Mesh, run: Run, until: Until) -> None:
    west, east = await mesh.joined("west", "east")
    publishing, following = Publishing(west, exports(echo=2)), Following(east)
    run(following.subscriber.run())
    task = run(publishing.publisher.run())
    await until(lambda: following.weights == {"echo": 2})
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await mesh.etcd.delete(LAYOUT.owned_by("west"), prefix=True)
    await mesh.etcd.delete(LAYOUT.format(ClusterKey("west")))
    await until(lambda: following.codes == ["StoreOlderThanSeen"])
    assert following.weights == {"echo": 2}
    assert following.west.network == "net-west"
    back = Publishing(west, exports(echo=2), "two")
    run(back.publisher.run())
    await until(lambda: following.codes == [])
    assert following.weights == {"echo": 2}


async def test_another_store_behind_the_address_takes_nothing_away(mesh: Mesh, run: Run, until: Until) -> None:
    """All data gone, users and roles too: another store, with another id."""
    west, east = await mesh.joined("west", "east")
    publishing, following = Publishing(west, exports(echo=2)), Following(east)
    run(following.subscriber.run())
    run(publishing.publisher.run())
    await until(lambda: following.weights == {"echo": 2})
    known = following.state.store_id
    mesh.server.kill()
    mesh.server.wipe("replaced")
    mesh.server.start()
    await mesh.server.wait_ready()
    await until(lambda: following.state.connected and following.state.store_id != known)
    assert following.weights == {"echo": 2}
    await until(lambda: publishing.up and all_there(following))
    publishing.exports.set(exports(echo=3))
    await until(lambda: following.weights == {"echo": 3} and following.codes == [])


def all_there(following: Following) -> bool:
    return following.weights == {"echo": 2} and not following.west.held


async def test_what_cannot_be_read_costs_itself_alone(mesh: Mesh, run: Run, until: Until) -> None:
    west, east = await mesh.joined("west", "east")
    publishing, following = Publishing(west, exports(echo=2)), Following(east)
    run(following.subscriber.run())
    run(publishing.publisher.run())
    await until(lambda: following.weights == {"echo": 2})
    garbage = LAYOUT.format(ServiceRecordKey("west", "shop", "garbage"))
    future = LAYOUT.format(ServiceRecordKey("west", "shop", "future"))
    await west.put(garbage, b"\xff\xffgarbage")
    await west.put(future, pb.Service(schema=2).SerializeToString())
    await west.put(LAYOUT.owned_by("west") + "no/such/key", b"x")
    gateway = GatewayRecord(NetworkGateway("net-west", "west", "198.18.0.2", 15443), "gw-1")
    await west.put(LAYOUT.format(GatewayKey("west", "gw-1")), encode_gateway(gateway))
    await until(lambda: following.codes == ["BadKey", "BadRecord", "RecordFromTheFuture"])
    objects = {finding.code: finding.object for finding in following.state.findings}
    assert objects["BadRecord"].endswith("services/shop/garbage")
    assert objects["RecordFromTheFuture"].endswith("services/shop/future")
    assert following.weights == {"echo": 2}
    await until(lambda: [r.gateway.address for r in following.west.gateways.values()] == ["198.18.0.2"])
    publishing.exports.set(exports(echo=4))
    await until(lambda: following.weights == {"echo": 4})
    for key in (garbage, future, LAYOUT.owned_by("west") + "no/such/key"):
        await mesh.etcd.delete(key)
    await until(lambda: following.codes == [])


async def test_a_damaged_heartbeat_of_ones_own_is_written_over(mesh: Mesh, run: Run, until: Until) -> None:
    west, east = await mesh.joined("west", "east")
    await west.put(LAYOUT.format(HeartbeatKey("west")), b"\xff\xffgarbage")
    publishing, following = Publishing(west, exports(echo=2)), Following(east)
    run(following.subscriber.run())
    run(publishing.publisher.run())
    await until(lambda: publishing.up)
    await until(lambda: following.weights == {"echo": 2} and following.west.generation)


async def test_a_damaged_store_identity_stops_nobody(mesh: Mesh, run: Run, until: Until) -> None:
    west, east = await mesh.joined("west", "east")
    await mesh.etcd.put(LAYOUT.meta, b"\xff\xffgarbage")
    publishing, following = Publishing(west, exports(echo=2)), Following(east)
    run(following.subscriber.run())
    run(publishing.publisher.run())
    await until(lambda: following.weights == {"echo": 2})


async def test_a_second_publisher_of_a_cluster_is_noticed(mesh: Mesh, run: Run, until: Until) -> None:
    west, again = (await mesh.joined("west"))[0], await mesh.member("west")
    first = Publishing(west, exports(echo=2))
    run(first.publisher.run())
    await until(lambda: first.up)
    second = Publishing(again, exports(echo=2), "two")
    run(second.publisher.run())
    for one in (first, second):
        await until(lambda one=one: "heartbeat has changed" in one.publisher.state.error)


async def test_losing_the_store_stops_nothing_else(mesh: Mesh, run: Run, until: Until) -> None:
    await mesh.joined("west", "east")
    west, east = [await mesh.member(name, retry_for=0.5, request_timeout=1.0) for name in ("west", "east")]
    publishing, following = Publishing(west, exports(echo=2)), Following(east)
    run(following.subscriber.run())
    run(publishing.publisher.run())
    await until(lambda: following.weights == {"echo": 2})
    mesh.server.kill()
    await until(lambda: not following.state.connected and not publishing.up)
    confirmed = following.state.confirmed
    assert 0 < time.monotonic() - confirmed < 20
    assert publishing.publisher.state.error
    publishing.exports.set(exports(echo=9))
    assert following.weights == {"echo": 2}
    assert following.state.source == "store"
    mesh.server.start()
    await until(lambda: following.weights == {"echo": 9})
    assert following.state.connected
    assert following.state.confirmed > confirmed


async def test_a_start_without_the_store_serves_the_disk(mesh: Mesh, run: Run, until: Until, tmp_path: Path) -> None:
    west, east = await mesh.joined("west", "east")
    publishing, following = Publishing(west, exports(echo=2)), Following(east, tmp_path)
    task = run(following.subscriber.run())
    publisher = run(publishing.publisher.run())
    await until(lambda: following.weights == {"echo": 2})

    def saved() -> bool:
        """What a process that starts now would serve."""
        started = Following(east, tmp_path)
        started.subscriber.restore()
        return started.weights == {"echo": 2}

    await until(saved)
    for ended in (task, publisher):
        ended.cancel()
    mesh.server.kill()
    started = Following(east, tmp_path)
    started.subscriber.restore()
    assert started.weights == {"echo": 2}
    assert (started.state.source, started.state.connected) == ("disk", False)
    assert abs(time.time() - started.state.saved_unix) < 20
    run(started.subscriber.run())
    mesh.server.start()
    await until(lambda: started.state.source == "store")
    assert started.weights == {"echo": 2}
    assert started.codes == []


async def test_a_cluster_that_was_taken_out_is_gone_and_says_why(mesh: Mesh, run: Run, until: Until) -> None:
    west, east = await mesh.joined("west", "east")
    publishing, following = Publishing(west, exports(echo=2)), Following(east)
    run(following.subscriber.run())
    run(publishing.publisher.run())
    await until(lambda: following.weights == {"echo": 2})
    await leave(mesh.authority, mesh.etcd, LAYOUT, "west", dry_run=False)
    await until(lambda: "west" not in following.state.peers)
    await until(lambda: "permission denied" in publishing.publisher.state.error)
    await until(lambda: not publishing.up)
    assert await revisions(mesh, HeartbeatKey("west"), CompleteKey("west"), ECHO) == [0, 0, 0]
