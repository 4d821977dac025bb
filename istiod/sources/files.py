"""A directory of YAML files, MeshConfig and MeshNetworks files, as a source: the shell around `sources.contents`.

Owns when a file is looked at: on inotify's word, after a moment for a file that may be half written, and every few
seconds in case a word was missed. Without inotify it polls. Reads `*.yaml`, `*.yml` and `*.json` in the directory and
below it; names that start with a dot are not files of ours. Directories that are symbolic links are not entered; files
that are links are read. A directory that is not there has said nothing: the source is not synced before it exists, and
if it goes away what it said stands, with a finding.
"""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import structlog
from asyncinotify import Inotify, Mask

from federation.model.findings import Finding, Severity
from istiod.api.kinds import Kind
from istiod.events import Event, Findings, Synced
from istiod.sources.contents import Contents, MeshFile, unreadable

log = structlog.get_logger("files")

SOURCE = "files"
SUFFIXES = (".yaml", ".yml", ".json")
MAX_FILE_BYTES = 64 << 20
SETTLE_SECONDS = 0.1
RESCAN_SECONDS = 5.0
POLL_SECONDS = 0.1
SLICE_FILES = 16  # parsed between two chances for the rest of the process

Emit = Callable[[Sequence[Event]], None]
Signature = tuple[int, int, int, int]


@dataclass(slots=True)
class _Seen:
    """What a file was when last looked at. `signature` is None if it could change without a trace in it."""

    signature: Signature | None
    digest: bytes
    unsettled_until: float = 0.0  # monotonic seconds; 0 when its content was taken


class FilesSource:
    """Follows the files of one control plane. State outlives `run`, so that a restarted one says only what differs."""

    def __init__(
        self,
        config_dir: Path,
        mesh_config: Path | None = None,
        mesh_networks: Path | None = None,
        defaults: str = "resilient",
    ) -> None:
        self._root = Path(os.path.abspath(config_dir))
        self._contents = Contents()
        self._seen: dict[str, _Seen] = {}
        self._mesh = [
            (Path(os.path.abspath(path)), MeshFile(kind, path.name, defaults))
            for kind, path in ((Kind.MESH_CONFIG, mesh_config), (Kind.MESH_NETWORKS, mesh_networks))
            if path is not None
        ]
        self._present: bool | None = None
        self._synced = False

    async def run(self, emit: Emit) -> None:
        """Say what is in the files, then `Synced`, then every change, each change as one batch. Ends when cancelled."""
        while True:
            watched = self._directories()
            watcher = _watch(watched)
            if watcher is None:
                await self._look(emit, None)
                await asyncio.sleep(POLL_SECONDS)
                continue
            with watcher:
                await self._follow(emit, watcher, watched)

    async def _follow(self, emit: Emit, watcher: Inotify, watched: dict[str, tuple[int, int]]) -> None:
        """Look and follow until other directories have to be watched."""
        names: set[str] | None = None  # all, once the watch has begun, so that nothing falls between
        whole = time.monotonic()
        while names is not None or watched == self._directories():
            await self._look(emit, names)
            changed = await _changes(watcher, SETTLE_SECONDS if self._pending() else RESCAN_SECONDS)
            names = self._named(changed)
            if time.monotonic() - whole >= RESCAN_SECONDS:
                names = None
            if names is None:
                whole = time.monotonic()

    async def _look(self, emit: Emit, names: set[str] | None) -> None:
        """Read the named files (all if None), those that have not settled and the mesh's, and emit what differs."""
        events = [event for path, file in self._mesh for event in self._look_at_mesh(path, file)]
        present = self._root.is_dir()
        if present != self._present:
            self._present = present
            events.append(Findings(f"directory {self._root}", () if present else (_missing(self._root),)))
        if present:
            await self._look_at(names)
            events += self._contents.events()
        if not self._synced and present and all(file.known for _, file in self._mesh):
            self._synced = True
            events.append(Synced(SOURCE))
        if events:
            emit(events)

    async def _look_at(self, names: set[str] | None) -> None:
        if names is None:
            names = set(self._scan())
            for gone in self._seen.keys() - names:
                self._forget(gone)
            candidates: Iterable[str] = (name for name in sorted(names) if self._differs(name))
        else:
            candidates = sorted(names | self._pending())
        for number, name in enumerate(candidates, 1):
            self._read(name)
            if number % SLICE_FILES == 0:
                await asyncio.sleep(0)

    def _read(self, name: str) -> None:
        path = self._root / name
        before = _signature(path)
        if before is None:
            self._forget(name)
            return
        text = read_text(path)
        if isinstance(text, Finding):
            self._seen[name] = _Seen(before, b"")
            self._contents.refuse(name, _renamed(text, name))
            return
        known, digest = self._seen.get(name), blake2b(text.encode(), digest_size=16).digest()
        seen = _Seen(before if _is_old(before) else None, digest)
        now = time.monotonic()
        if known is None or known.digest != digest or known.unsettled_until:
            settled = known is not None and known.digest == digest and now >= known.unsettled_until
            if not self._contents.put(name, text, settled):
                waiting = known is not None and known.digest == digest
                seen.unsettled_until = known.unsettled_until if waiting and known else now + SETTLE_SECONDS
        self._seen[name] = seen

    def _forget(self, name: str) -> None:
        self._seen.pop(name, None)
        self._contents.remove(name)

    def _differs(self, name: str) -> bool:
        seen = self._seen.get(name)
        return seen is None or seen.signature is None or seen.signature != _signature(self._root / name)

    def _scan(self) -> Iterator[str]:
        for folder, below, files in os.walk(self._root):
            below[:] = [name for name in below if not name.startswith(".")]
            for name in files:
                if _is_ours(name):
                    yield os.path.relpath(os.path.join(folder, name), self._root)

    def _look_at_mesh(self, path: Path, file: MeshFile) -> list[Event]:
        text = read_text(path)
        return file.refuse(_renamed(text, path.name)) if isinstance(text, Finding) else file.put(text)

    def _pending(self) -> set[str]:
        """Files to look at again soon without a word of inotify."""
        return {name for name, seen in self._seen.items() if seen.unsettled_until or seen.signature is None}

    def _named(self, changed: set[str]) -> set[str] | None:
        """The files that these changed paths are; None if only a look at everything can tell."""
        names: set[str] = set()
        for path in changed:
            inside = path.startswith(f"{self._root}{os.sep}")
            name = os.path.basename(path)
            if not inside:
                if str(self._root).startswith(path):  # the directory itself, or one above it
                    return None
            elif name.startswith(".."):  # how Kubernetes swaps all files of a mounted ConfigMap at once
                return None
            elif _is_ours(name) and not os.path.isdir(path):
                names.add(os.path.relpath(path, self._root))
            elif not name.startswith("."):
                return None
        return names

    def _directories(self) -> dict[str, tuple[int, int]]:
        """What has to be watched, each with its identity: it may be replaced by another of the same name."""
        wanted = {_nearest(self._root.parent), *(_nearest(path.parent) for path, _ in self._mesh)}
        for folder, below, _ in os.walk(self._root):
            below[:] = [name for name in below if not name.startswith(".")]
            wanted.add(folder)
        found = {}
        for path in wanted:
            try:
                status = os.stat(path)
            except OSError:
                continue
            found[path] = (status.st_dev, status.st_ino)
        return found


def _is_ours(name: str) -> bool:
    return name.endswith(SUFFIXES) and not name.startswith(".")


def _nearest(path: Path) -> str:
    """The path, or the first one above it that exists."""
    return str(next((folder for folder in (path, *path.parents) if folder.is_dir()), Path("/")))


def _signature(path: Path) -> Signature | None:
    """What changes when a file does; None if there is no file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _is_old(signature: Signature) -> bool:
    """Whether a further write would show in the time stamp, whose clock ticks a few milliseconds apart."""
    return abs(time.time_ns() - signature[3]) > 50_000_000


def read_text(path: Path) -> str | Finding:
    """The text of a file, or why it cannot be used."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return unreadable(path.name, "is no regular file")
        if status.st_size > MAX_FILE_BYTES:
            return unreadable(path.name, f"has {status.st_size} bytes, more than {MAX_FILE_BYTES}")
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        return unreadable(path.name, f"is not UTF-8 at byte {wrong.start}")
    except OSError as wrong:
        return unreadable(path.name, f"cannot be read: {wrong.strerror}")


def _renamed(finding: Finding, name: str) -> Finding:
    return Finding(finding.severity, finding.code, f"File {name}", finding.path, finding.message, finding.fix)


def _missing(root: Path) -> Finding:
    return Finding(
        Severity.ERROR, "DirectoryMissing", f"Directory {root}", "", "does not exist; nothing was changed", "create it"
    )


# What is written in place counts when it is closed: between two writes a file may look whole and not be.
_CHANGED = (
    Mask.CLOSE_WRITE | Mask.CREATE | Mask.DELETE | Mask.MOVED_FROM | Mask.MOVED_TO | Mask.ATTRIB
    | Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.ONLYDIR
)  # fmt: skip


def _watch(directories: Iterable[str]) -> Inotify | None:
    """A watcher of these directories, each without what is below it; None if the system has no more to give."""
    try:
        watcher = Inotify(sync_timeout=0)
    except OSError as wrong:
        log.warning("inotify_unavailable", error=str(wrong), polling_seconds=POLL_SECONDS)
        return None
    try:
        for directory in sorted(directories):
            watcher.add_watch(directory, _CHANGED)
    except (FileNotFoundError, NotADirectoryError):  # gone since it was listed
        watcher.close()
        return None
    except OSError as wrong:
        watcher.close()
        log.warning("inotify_unavailable", error=str(wrong), polling_seconds=POLL_SECONDS)
        return None
    return watcher


async def _changes(watcher: Inotify, patience: float) -> set[str]:
    """The paths that changed, with all that is known by now; none after `patience` seconds without any."""
    try:
        async with asyncio.timeout(patience):
            events = [await watcher.get()]
    except TimeoutError:
        return set()
    while (event := watcher.sync_get()) is not None:
        events.append(event)
    # An event without a path says that others were lost: everything may have changed.
    return {str(event.path) if event.path is not None else os.sep for event in events}
