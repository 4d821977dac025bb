"""From a lab's configuration to namespaces, links, addresses and routes. Pure; makes nothing.

Every pod has a namespace, and every network one of its own with its bridge and router, so that nothing is added to
the machine's own. Pods of network n have 10.n.0.0/16 (10.n.c.x in cluster c). The WAN is 198.18.0.0/16, of which
cluster c has 198.18.c.0/24; gateways and control planes have a second leg there, and a network's router masquerades
onto it. Service addresses are 10.(100+c).0.x, which only a sidecar can reach.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from federation.lab.config import Cluster, LabConfig, Service, Workload
from federation.model.locality import NO_LOCALITY, Locality

WAN = "wan"
STORE = "etcd"
STORE_ADDRESS = "198.18.0.2"
POD_LEG, WAN_LEG, BRIDGE = "eth0", "eth1", "br0"
GATEWAY_PORTS = (15443, 15008)
ISTIOD_HOST, DNS_HOST, FIRST_GATEWAY, FIRST_POD = 3, 2, 4, 20


class Role(StrEnum):
    """What runs in a node."""

    POD = "pod"
    GATEWAY = "gateway"
    ISTIOD = "istiod"
    STORE = "etcd"


@dataclass(frozen=True, slots=True)
class Leg:
    """An interface of a node: its name, address with prefix length, the segment that it is plugged into, and its port
    there.
    """

    interface: str
    address: str
    prefix: int
    segment: str
    port: str


@dataclass(frozen=True, slots=True)
class Node:
    """A namespace with processes in it. `name` is `cluster/pod`, or `etcd`; `gateway` is its default route, if any."""

    name: str
    role: Role
    cluster: str
    legs: tuple[Leg, ...]
    gateway: str = ""
    locality: Locality = NO_LOCALITY
    workload: Workload | None = None

    @property
    def slug(self) -> str:
        """The name as part of a file's or namespace's name."""
        return self.name.replace("/", "-")

    @property
    def short(self) -> str:
        """The name without the cluster."""
        return self.name.rpartition("/")[2]

    @property
    def address(self) -> str:
        """The address inside its own network (the store's on the WAN)."""
        return self.legs[0].address

    @property
    def wan(self) -> Leg | None:
        """The leg on the WAN, if there is one."""
        return next((leg for leg in self.legs if leg.segment == WAN), None)


@dataclass(frozen=True, slots=True)
class Segment:
    """A bridge in a namespace of its own. A network's has a router with addresses inside, and legs onto the WAN that
    masquerade.

    `resolvers` are the addresses of its clusters' name servers.
    """

    name: str
    addresses: tuple[tuple[str, int], ...] = ()
    uplink: Leg | None = None
    resolvers: tuple[tuple[str, str], ...] = ()

    @property
    def slug(self) -> str:
        """The name as part of a namespace's name; WAN and networks cannot clash with nodes."""
        return f"segment-{self.name}"


@dataclass(frozen=True, slots=True)
class VirtualService:
    """A service as one cluster declares it: its address there and the pods behind it."""

    service: Service
    cluster: str
    namespace: str
    address: str
    target_port: int
    pods: tuple[Node, ...]

    @property
    def host(self) -> str:
        """Its full name."""
        return f"{self.service.name}.{self.namespace}.svc.cluster.local"


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a lab is made of, under a prefix that no other lab has."""

    prefix: str
    config: LabConfig
    segments: tuple[Segment, ...]
    nodes: tuple[Node, ...]
    services: tuple[VirtualService, ...]

    def netns(self, item: Node | Segment) -> str:
        """The name of the network namespace of a node or segment."""
        return f"{self.prefix}{item.slug}"

    def namespaces(self) -> list[str]:
        """All network namespaces."""
        return [*map(self.netns, self.segments), *map(self.netns, self.nodes)]

    def node(self, name: str) -> Node:
        """The node of that name; raises KeyError."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    def pods(self, cluster: str = "") -> list[Node]:
        """Workload pods, of one cluster or all."""
        return [n for n in self.nodes if n.role is Role.POD and cluster in ("", n.cluster)]

    def gateways(self, cluster: str = "") -> list[Node]:
        """East-west gateways, of one cluster or all."""
        return [n for n in self.nodes if n.role is Role.GATEWAY and cluster in ("", n.cluster)]

    def istiod(self, cluster: str) -> Node:
        """The control plane of a cluster."""
        return self.node(f"{cluster}/istiod")

    def network(self, name: str) -> Segment:
        """The segment of a network."""
        return next(segment for segment in self.segments if segment.name == name)

    def cluster(self, name: str) -> Cluster:
        """The configuration of a cluster."""
        return next(cluster for cluster in self.config.clusters if cluster.name == name)

    def resolver(self, cluster: str) -> str:
        """The address of a cluster's name server."""
        return dict(self.network(self.cluster(cluster).network).resolvers)[cluster]

    def wan_range(self, cluster: str) -> str:
        """The addresses on the WAN from which a cluster's packets come, or the store's."""
        return f"{STORE_ADDRESS}/32" if cluster == STORE else f"198.18.{self._index(cluster)}.0/24"

    def pod_range(self, cluster: str) -> str:
        """The addresses of a cluster's nodes inside its network; empty for the store, which is in none."""
        if cluster == STORE:
            return ""
        network = [segment.name for segment in self.segments].index(self.cluster(cluster).network)
        return f"10.{network}.{self._index(cluster)}.0/24"

    def _index(self, cluster: str) -> int:
        return [c.name for c in self.config.clusters].index(cluster) + 1


def plan_lab(config: LabConfig, prefix: str) -> Plan:
    """Everything to be made for a lab."""
    networks = list(dict.fromkeys(cluster.network for cluster in config.clusters))
    ports = (f"port{n}" for n in range(1, 1 << 20))
    store = Node(STORE, Role.STORE, "", (Leg(WAN_LEG, STORE_ADDRESS, 16, WAN, next(ports)),))
    nodes = [store]
    for index, cluster in enumerate(config.clusters, 1):
        nodes += _cluster_nodes(config, cluster, index, networks.index(cluster.network) + 1, ports)
    segments = [Segment(WAN), *(_network(config, name, n, next(ports)) for n, name in enumerate(networks, 1))]
    services = [s for index, cluster in enumerate(config.clusters, 1) for s in _services(config, cluster, index, nodes)]
    return Plan(prefix, config, tuple(segments), tuple(nodes), tuple(services))


def _network(config: LabConfig, name: str, number: int, port: str) -> Segment:
    members = [(i, c.name) for i, c in enumerate(config.clusters, 1) if c.network == name]
    resolvers = tuple((cluster, f"10.{number}.{i}.{DNS_HOST}") for i, cluster in members)
    addresses = ((f"10.{number}.0.1", 16), *((address, 32) for _, address in resolvers))
    # The router's packets carry an address of its first cluster: whose link is cut, whose outgoing traffic is cut.
    uplink = Leg("wan0", f"198.18.{members[0][0]}.254", 16, WAN, port)
    return Segment(name, addresses, uplink, resolvers)


def _cluster_nodes(
    config: LabConfig, cluster: Cluster, index: int, number: int, ports: Iterator[str]
) -> Iterator[Node]:
    inside, outside, router = f"10.{number}.{index}", f"198.18.{index}", f"10.{number}.0.1"

    def leg(host: int) -> Leg:
        return Leg(POD_LEG, f"{inside}.{host}", 16, cluster.network, next(ports))

    def wan_leg(host: int) -> Leg:
        return Leg(WAN_LEG, f"{outside}.{host}", 16, WAN, next(ports))

    def place(n: int) -> Locality:
        return Locality(cluster.region, f"{cluster.region}-{cluster.zones[n % len(cluster.zones)]}")

    both = (leg(ISTIOD_HOST), wan_leg(ISTIOD_HOST))
    yield Node(f"{cluster.name}/istiod", Role.ISTIOD, cluster.name, both, locality=place(0))
    for n in range(cluster.gateways):
        host = FIRST_GATEWAY + n
        name = f"{cluster.name}/gateway" + (f"-{n + 1}" if cluster.gateways > 1 else "")
        yield Node(name, Role.GATEWAY, cluster.name, (leg(host), wan_leg(host)), locality=place(n))
    host = FIRST_POD
    for workload in config.workloads:
        for n in range(workload.replicas if not workload.clusters or cluster.name in workload.clusters else 0):
            name = f"{cluster.name}/{workload.name}" + (f"-{n + 1}" if workload.replicas > 1 else "")
            yield Node(name, Role.POD, cluster.name, (leg(host),), router, place(n), workload)
            host += 1


def _services(config: LabConfig, cluster: Cluster, index: int, nodes: list[Node]) -> Iterator[VirtualService]:
    for number, service in enumerate(config.services, 1):
        members = [w for w in config.workloads if w.application == service.workload]
        pods = tuple(n for n in nodes if n.cluster == cluster.name and n.workload in members)
        if cluster.name in service.clusters or (not service.clusters and pods):
            address = f"10.{100 + index}.{number >> 8}.{number & 255}"
            yield VirtualService(service, cluster.name, members[0].namespace, address, members[0].port, pods)
