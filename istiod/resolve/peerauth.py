"""Which mutual TLS mode a workload's port is in, by PeerAuthentication.

Pure look-up in the snapshot's table. Rules: Istio's PeerAuthentication reference (mesh < namespace < workload < port;
`UNSET` inherits; the oldest of several at one level; PERMISSIVE when nobody says anything). Server chains and the
clients' auto mutual TLS both ask here, so they agree. A policy that is not valid counts as STRICT for what it selects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from federation.model.labels import NO_LABELS, Labels
from istiod.api.peerauthentication import PeerAuthentication
from istiod.memo import memo
from istiod.resolve.objects import Table, invalid_objects, table_of, valid_objects
from istiod.snapshot import Snapshot


class MtlsMode(StrEnum):
    """Istio's words; `UNSET` never comes out of `mtls_mode`."""

    UNSET = "UNSET"
    DISABLE = "DISABLE"
    PERMISSIVE = "PERMISSIVE"
    STRICT = "STRICT"


@dataclass(frozen=True, slots=True)
class PeerPolicy:
    """What one policy says. `ports` are the workload's port numbers, `name` is the policy's, for people."""

    selector: Labels
    mode: MtlsMode
    ports: tuple[tuple[int, MtlsMode], ...] = ()
    name: str = ""

    def at(self, port: int) -> MtlsMode:
        """The mode for a port; UNSET when the policy leaves it open."""
        for number, mode in self.ports:
            if number == port and mode is not MtlsMode.UNSET:
                return mode
        return self.mode


@dataclass(frozen=True, slots=True)
class PeerPolicies:
    """All policies by namespace: the one without selector, and those with one, oldest first."""

    root: str
    whole: Mapping[str, PeerPolicy]
    selecting: Mapping[str, tuple[PeerPolicy, ...]]

    def workload(self, namespace: str, labels: Mapping[str, str]) -> PeerPolicy | None:
        """The policy that selects these labels, if any: the oldest one."""
        items = labels if isinstance(labels, Labels) else Labels(labels)
        return next((p for p in self.selecting.get(namespace, ()) if items.selected_by(p.selector)), None)

    def mode(self, namespace: str, labels: Mapping[str, str], port: int) -> MtlsMode:
        """The mode in force for one port of a workload (0 = any other port)."""
        return self.decision(namespace, labels, port)[0]

    def decision(self, namespace: str, labels: Mapping[str, str], port: int) -> tuple[MtlsMode, PeerPolicy | None]:
        """The same, and the policy that says so; None if none does."""
        return self._nearest((self.workload(namespace, labels), *self._wider(namespace)), port)

    def namespace_mode(self, namespace: str) -> MtlsMode:
        """The mode of a namespace, whatever policies for single workloads say."""
        return self._nearest(self._wider(namespace), 0)[0]

    def _wider(self, namespace: str) -> tuple[PeerPolicy | None, ...]:
        return self.whole.get(namespace), self.whole.get(self.root)

    @staticmethod
    def _nearest(policies: Iterable[PeerPolicy | None], port: int) -> tuple[MtlsMode, PeerPolicy | None]:
        for policy in policies:
            mode = policy.at(port) if policy is not None else MtlsMode.UNSET
            if mode is not MtlsMode.UNSET:
                return mode, policy
        return MtlsMode.PERMISSIVE, None

    def singled_out_ports(self, namespace: str, labels: Mapping[str, str]) -> tuple[int, ...]:
        """Ports for which the workload's policy says something of their own."""
        policy = self.workload(namespace, labels)
        return tuple(number for number, _ in policy.ports) if policy is not None else ()


def mtls_mode(snapshot: Snapshot, namespace: str, labels: Mapping[str, str], port: int) -> MtlsMode:
    """The mode in force for one port of a workload (its own port number, 0 = any other)."""
    return peer_policies(snapshot).mode(namespace, labels, port)


def peer_policies(snapshot: Snapshot) -> PeerPolicies:
    """All PeerAuthentications of a snapshot, ready to be asked."""
    return _index(table_of(snapshot, "PeerAuthentication"), snapshot.mesh.root_namespace)


@memo()
def _index(table: Table, root: str) -> PeerPolicies:
    whole: dict[str, PeerPolicy] = {}
    selecting: dict[str, list[PeerPolicy]] = {}
    # Those that fail closed come first: no older policy may open what a broken one was to guard.
    for broken in invalid_objects(table):
        policy = PeerPolicy(broken.selector, MtlsMode.STRICT, name=str(broken.meta.key))
        selecting.setdefault(broken.meta.namespace, []).append(policy)
        if not broken.selector:
            whole[broken.meta.namespace] = policy
    for item in valid_objects(table, PeerAuthentication):
        policy = _policy(item.spec, str(item.meta.key))
        if policy.selector:
            selecting.setdefault(item.meta.namespace, []).append(policy)
        else:
            whole.setdefault(item.meta.namespace, policy)
    return PeerPolicies(root, whole, {namespace: tuple(found) for namespace, found in selecting.items()})


def _policy(spec: PeerAuthentication, name: str) -> PeerPolicy:
    selector = Labels(spec.selector.all_labels) if spec.selector is not None else NO_LABELS
    ports = tuple((int(port), MtlsMode(said.mode)) for port, said in sorted((spec.port_level_mtls or {}).items()))
    mode = MtlsMode(spec.mtls.mode) if spec.mtls is not None else MtlsMode.UNSET
    return PeerPolicy(selector, mode, ports if selector else (), name)
