"""What one control plane says of itself and of what it sees, as values: the answer of `/debug/status`.

Written by `istiod.debug.views`, read by `isthmus status` and its siblings. Ages and times left are seconds, counted by
the control plane that answers, and what it says of another cluster is what it observed itself.
"""

from __future__ import annotations

import msgspec


class Struct(msgspec.Struct, frozen=True, rename="camel", omit_defaults=False):
    """Fields have camelCase names on the wire; unknown ones are ignored."""


class Store(Struct, frozen=True):
    """The shared store as seen from here. `source` is where the peers' data come from: none, disk or store."""

    connected: bool = False
    source: str = "none"
    id: str = ""
    revision: int = 0
    age_seconds: float | None = None


class Published(Struct, frozen=True):
    """How this cluster's own records get into the store."""

    connected: bool = False
    error: str = ""
    records: int = 0
    heartbeat_age_seconds: float | None = None


class Gateway(Struct, frozen=True):
    """An east-west gateway that a peer announced, or that MeshNetworks names (then without an id)."""

    id: str
    address: str
    state: str
    weight: int = 1


class Peer(Struct, frozen=True):
    """Another cluster. `heartbeat_age_seconds` is since a newer heartbeat arrived here, None if none ever did;
    `heartbeat_sent_age_seconds` is by the peer's clock. `held` says why the store's present records do not count.
    """

    cluster: str
    network: str = ""
    region: str = ""
    state: str = ""
    held: str = ""
    heartbeat_age_seconds: float | None = None
    heartbeat_sent_age_seconds: float | None = None
    services: int = 0
    endpoints: int = 0
    gateways: tuple[Gateway, ...] = ()
    istiod_version: str = ""


class FederationReport(Struct, frozen=True):
    """The federation as this cluster sees it."""

    mesh: str
    cluster: str
    store: Store
    published: Published
    peers: tuple[Peer, ...] = ()


class Endpoints(Struct, frozen=True):
    """Workloads of a service in one cluster: those that get requests, and all."""

    healthy: int
    total: int


class ServiceReport(Struct, frozen=True):
    """A service as merged here. `exported_to` is None if it is not exported, empty if every cluster may use it;
    `imported_from` are peers that export it to us, `withheld_by` peers that export it to others only.
    """

    host: str
    namespace: str
    name: str
    entry: bool
    local: bool
    external: bool
    exported_to: tuple[str, ...] | None
    imported_from: tuple[str, ...]
    withheld_by: tuple[str, ...]
    endpoints: dict[str, Endpoints]


class TypeReport(Struct, frozen=True):
    """How far one resource type of one proxy is. `refused` is Envoy's text if it refused the last one."""

    type: str
    state: str
    sent_revision: int
    acked_revision: int
    nacks: int
    refused: str


class ProxyReport(Struct, frozen=True):
    """A connected proxy. `behind_seconds` is for how long something it should have was not acknowledged."""

    id: str
    name: str
    kind: str
    namespace: str
    cluster: str
    network: str
    identity: str
    protocol: str
    state: str
    connected_seconds: float
    behind_seconds: float
    certificate_seconds_left: float | None
    certificate_life_seconds: float | None
    types: tuple[TypeReport, ...]


class FindingReport(Struct, frozen=True):
    """A finding; `severity` is info, warning or error."""

    severity: str
    code: str
    object: str
    path: str
    message: str
    fix: str


class AnalysisReport(Struct, frozen=True):
    """Everything that one control plane finds wrong with the objects that it has."""

    cluster: str
    findings: tuple[FindingReport, ...]


class IstiodReport(Struct, frozen=True):
    """One control plane's answer. `changed_seconds` is the age of its newest snapshot, None before the first; `pushed`
    is the revision that every class of proxies was brought to.

    `unconnected` are workloads of this cluster (`name.namespace`) that are served to callers as having a sidecar, while
    no proxy of theirs is connected.
    """

    cluster: str
    network: str
    version: str
    uptime_seconds: float
    waiting_for: dict[str, str]
    revision: int
    changed_seconds: float | None
    ca_seconds_left: float | None
    ca_life_seconds: float | None
    federation: FederationReport | None
    gateways: tuple[Gateway, ...]
    services: tuple[ServiceReport, ...]
    proxies: tuple[ProxyReport, ...]
    findings: tuple[FindingReport, ...]
    unconnected: tuple[str, ...] = ()
    pushed: int = 0


class ResourceReport(Struct, frozen=True):
    """A resource as it was made for a proxy. `content` is its protobuf as JSON, None for secrets."""

    name: str
    version: str
    content: object = None


class ConfigReport(Struct, frozen=True):
    """What a proxy is to have: resources by type (clusters, endpoints, listeners, routes, secrets). `node` is what it
    said of itself when it connected, None unless that was asked for (type `bootstrap`, or all).
    """

    observer: str
    proxy: ProxyReport
    resources: dict[str, tuple[ResourceReport, ...]]
    node: object = None


class DiffQuestion(Struct, frozen=True):
    """An edit: texts of YAML by name, and objects to delete as `Kind/namespace/name`. `fields` asks what is different
    inside changed resources.
    """

    files: dict[str, str] = {}
    delete: tuple[str, ...] = ()
    fields: bool = False


class ObjectChange(Struct, frozen=True):
    """An object of an edit: added, changed, deleted, or the same as it is."""

    object: str
    change: str


class FieldChange(Struct, frozen=True):
    """A field of a decoded resource before and after, None where it is not there."""

    path: str
    before: object
    after: object


class ResourceChange(Struct, frozen=True):
    """A resource that is added, removed or changed. `fields` are left out unless asked for; `more` is how many there
    are besides.
    """

    type: str
    name: str
    change: str
    fields: tuple[FieldChange, ...] = ()
    more: int = 0


class ClassChange(Struct, frozen=True):
    """Proxies (by node id) that get the same configuration, and what becomes another one of it."""

    proxies: tuple[str, ...]
    resources: tuple[ResourceChange, ...]


class DiffReport(Struct, frozen=True):
    """What an edit would do. `refused` = an object is not valid, so nothing was compared. `findings` are about the new
    objects, and what would be found besides; `gone` what would be found no more.
    """

    observer: str
    refused: bool
    objects: tuple[ObjectChange, ...]
    findings: tuple[FindingReport, ...]
    gone: tuple[FindingReport, ...]
    classes: tuple[ClassChange, ...]
    unchanged: int
    notes: tuple[str, ...] = ()
