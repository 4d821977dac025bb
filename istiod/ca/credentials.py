"""Serves Secrets of Kubernetes to the proxies that may have them, each over its own authenticated stream.

Owns who asks for what and when to look again; which Secret a name means and who may have it, `istiod.resolve` decides.
A Secret that changes reaches a proxy as its next version; one that goes away or breaks is not taken from proxies that
have it. What is sent is made anew from the snapshot each time and kept by the stream alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from federation.model.identity import SpiffeId
from federation.model.names import NamespacedName
from federation.runtime.latest import Latest
from istiod.api.kinds import Kind
from istiod.encode.secrets import encode_credential
from istiod.resolve.credentials import NO_GRANTS, credentials_of, parse_credential
from istiod.resolve.objects import table_of
from istiod.snapshot import Snapshot
from istiod.view.classes import view_of
from istiod.view.proxy import ProxyView
from istiod.xds.stream import Stream

log = structlog.get_logger("credentials")
STREAMS_PER_SLICE = 16
Grants = Callable[[Snapshot, ProxyView], frozenset[NamespacedName]]


def gateway_secrets(snapshot: Snapshot, view: ProxyView) -> frozenset[NamespacedName]:
    """What the Gateway API's Gateways of a proxy's own namespace refer to and may have."""
    return snapshot.gateway_api.secrets.get(view.namespace, NO_GRANTS)


@dataclass(slots=True)
class _Asked:
    """What a stream asks for, and of what it was told last."""

    namespace: str
    names: frozenset[str]
    told: tuple[object, ...] = ()


class CredentialProvider:
    """One per process. `grants` says which Secrets a view's Gateways may refer to by `kubernetes-gateway://`."""

    def __init__(self, snapshots: Latest[Snapshot], grants: Grants = gateway_secrets) -> None:
        self._snapshots = snapshots
        self._grants = grants
        self._asked: dict[Stream, _Asked] = {}

    async def run(self) -> None:
        """Tell streams of changed Secrets until cancelled."""
        async for snapshot in self._snapshots.changes():
            for count, (stream, asked) in enumerate(list(self._asked.items())):
                if stream in self._asked:
                    self._tell(stream, asked, snapshot)
                if count % STREAMS_PER_SLICE == STREAMS_PER_SLICE - 1:
                    await asyncio.sleep(0)

    async def serve(self, stream: Stream, identity: str) -> None:
        """Follow what a stream asks for until it ends. `identity` is proven; nothing is believed of the node."""
        namespace = SpiffeId.parse(identity).namespace
        asked = _Asked(namespace, frozenset())
        try:
            async for names in stream.secret_names.changes():
                asked.names = frozenset(name for name in names if parse_credential(name, namespace) is not None)
                if not asked.names and stream not in self._asked:
                    continue
                self._asked[stream] = asked
                _, snapshot = await self._snapshots.wait()
                self._tell(stream, asked, snapshot)
        finally:
            self._asked.pop(stream, None)

    def _tell(self, stream: Stream, asked: _Asked, snapshot: Snapshot) -> None:
        secrets = table_of(snapshot, Kind.SECRET)
        assert stream.proxy is not None
        granted = self._grants(snapshot, view_of(stream.proxy, snapshot))
        if asked.told and asked.told[0] is secrets and asked.told[1:] == (granted, asked.names):
            return
        asked.told = (secrets, granted, asked.names)
        found = credentials_of(secrets, sorted(asked.names), asked.namespace, granted)
        resources = {spec.name: encode_credential(spec) for spec in found}
        absent = asked.names - resources.keys()
        stream.credentials(resources, absent)
        if absent:
            log.warning("credentials_absent", proxy=stream.proxy.id, names=sorted(absent)[:20], count=len(absent))
