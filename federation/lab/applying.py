"""Puts a user's objects into the clusters of a lab, or takes them out, and waits until every proxy has what follows.

Owns files in the clusters' configuration directories, named after the user's; never those that the lab itself wrote.
What is in them is judged by the control planes alone.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import aiohttp
import msgspec

from federation.lab import probe
from federation.lab.files import LabFiles
from federation.lab.topology import Node, Plan, Role
from federation.model.errors import InvalidInput, Unavailable
from federation.model.findings import Finding, Severity
from federation.runtime.atomic import write_atomic

MAX_FILE_BYTES = 4 << 20
PREFIX = "applied-"
PART = "listener_manager."


class _Type(msgspec.Struct):
    type: str = ""
    state: str = ""
    refused: str = ""


class _Proxy(msgspec.Struct):
    name: str = ""
    types: tuple[_Type, ...] = ()


class _Finding(msgspec.Struct, frozen=True):
    severity: str
    code: str
    object: str
    path: str
    message: str
    fix: str


class _Istiod(msgspec.Struct):
    """What is read of a control plane's status."""

    revision: int = 0
    pushed: int = 0
    proxies: tuple[_Proxy, ...] = ()
    findings: tuple[_Finding, ...] = ()


class Applied(msgspec.Struct, frozen=True):
    """What one cluster made of the change: whether anything is another now, and what it finds wrong since."""

    cluster: str
    files: tuple[str, ...]
    changed: bool
    findings: tuple[_Finding, ...] = ()


class Applying:
    """One change of the objects in some clusters of a lab."""

    def __init__(self, files: LabFiles, plan: Plan, clusters: Sequence[str], deadline: float) -> None:
        self._files, self._plan, self._deadline = files, plan, deadline
        known = [cluster.name for cluster in plan.config.clusters]
        unknown = [name for name in clusters if name not in known]
        if unknown:
            message, fix = "is no cluster of this lab", f"there is {', '.join(known)}"
            raise InvalidInput([_wrong(f"Cluster {name}", message, fix) for name in unknown])
        self._clusters = clusters or known

    async def apply(self, sources: Sequence[Path]) -> list[Applied]:
        """Put files in place; raises InvalidInput, Unavailable."""
        texts = {_name(source): _read(source) for source in sources}

        def change(directory: Path) -> bool:
            stale = [name for name, text in texts.items() if _content(directory / name) != text]
            for name in stale:
                write_atomic(directory / name, texts[name], 0o644)
            return bool(stale)

        return await asyncio.gather(*(self._change(name, tuple(texts), change) for name in self._clusters))

    async def delete(self, sources: Sequence[Path]) -> list[Applied]:
        """Take files away that were put in place by name; raises InvalidInput if none of the clusters has one."""
        names = [_name(source) for source in sources]
        there = {path.name for cluster in self._clusters for path in self._files.config_dir(cluster).glob(f"{PREFIX}*")}
        missing = [name for name in names if name not in there]
        if missing:
            said = ", ".join(sorted(name.removeprefix(PREFIX) for name in there)) or "nothing"
            raise InvalidInput([_wrong(f"File {n.removeprefix(PREFIX)}", "is not applied", f"applied is {said}")
                                for n in missing])  # fmt: skip

        def change(directory: Path) -> bool:
            found = [directory / name for name in names if (directory / name).exists()]
            for path in found:
                path.unlink()
            return bool(found)

        return await asyncio.gather(*(self._change(name, tuple(names), change) for name in self._clusters))

    async def _change(self, cluster: str, names: tuple[str, ...], change: Callable[[Path], bool]) -> Applied:
        files = tuple(name.removeprefix(PREFIX) for name in names)
        before, listeners = await self._ask(cluster), await self._listeners(cluster)
        if not change(self._files.config_dir(cluster)):
            return Applied(cluster, files, False)
        while True:
            now = await self._ask(cluster)
            pushed = now.pushed >= now.revision > before.revision
            taken = all(kind.state == "synced" for proxy in now.proxies for kind in proxy.types)
            if pushed and taken and _settled(listeners, await self._listeners(cluster)):
                return Applied(cluster, files, True, tuple(f for f in now.findings if f not in before.findings))
            refused = [f"{p.name} refuses {t.type}: {t.refused}" for p in now.proxies for t in p.types if t.refused]
            if refused and now.revision > before.revision:
                raise Unavailable(f"{cluster}: {'; '.join(refused)}")
            if time.monotonic() > self._deadline:
                raise Unavailable(f"{cluster}: proxies have not all taken the change in time; see `isthmus status`")
            await asyncio.sleep(probe.POLL_SECONDS)

    async def _listeners(self, cluster: str) -> dict[str, Counter[str]]:
        """What the Envoys of a cluster count of their listeners, as far as they run."""
        pods = [node for node in self._plan.pods(cluster) if node.workload and node.workload.sidecar]
        nodes = [*pods, *self._plan.gateways(cluster)]
        return dict(zip((n.name for n in nodes), await asyncio.gather(*map(self._counted, nodes)), strict=True))

    async def _counted(self, node: Node) -> Counter[str]:
        gateway = node.role is Role.GATEWAY
        socket = self._files.state(node) / "admin.sock" if gateway else self._files.admin_socket(node)
        try:
            _, body = await probe.admin(socket, f"/stats?filter={PART}")
        except (OSError, TimeoutError, aiohttp.ClientError):
            return Counter()  # it is not running: `isthmus lab status` says so
        pairs = (line.removeprefix(PART).rpartition(": ") for line in body.decode().splitlines())
        return Counter({name: int(count) for name, _, count in pairs if count.isdecimal()})

    async def _ask(self, cluster: str) -> _Istiod:
        socket = self._files.http_socket(self._plan.istiod(cluster))
        try:
            status, body = await probe.admin(socket, "/debug/status")
            if status == 200:
                return msgspec.json.decode(body, type=_Istiod)
        except (OSError, TimeoutError, msgspec.DecodeError, aiohttp.ClientError):
            pass
        raise Unavailable(f"{cluster}/istiod does not answer; see `isthmus lab status`")


def _settled(before: Mapping[str, Counter[str]], now: Mapping[str, Counter[str]]) -> bool:
    """Whether every listener that changed is in use, and no connection is served by what was there before.

    An Envoy says yes to a listener before its workers have it, and lets connections of the old one end in their time.
    """
    return all(
        not (counts["total_listeners_draining"] or counts["total_filter_chains_draining"])
        and _in_use(counts) - _in_use(before.get(name, Counter())) >= 0
        for name, counts in now.items()
    )


def _in_use(counts: Counter[str]) -> int:
    """Listeners that workers took, less those that were given: below what it was while one is on its way."""
    return counts["listener_create_success"] - counts["listener_added"] - counts["listener_modified"]


def _name(source: Path) -> str:
    return PREFIX + source.name


def _read(source: Path) -> bytes:
    try:
        if source.stat().st_size > MAX_FILE_BYTES:
            raise InvalidInput([_wrong(f"File {source}", f"has more than {MAX_FILE_BYTES} bytes", "split it")])
        return source.read_bytes()
    except OSError as error:
        raise InvalidInput([_wrong(f"File {source}", f"cannot be read: {error.strerror}", "name a file")]) from None


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _wrong(what: str, message: str, fix: str) -> Finding:
    return Finding(Severity.ERROR, "InvalidApply", what, "", message, fix)
