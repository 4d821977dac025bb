"""Files, directories and standard input -> texts, and what they say as one snapshot. A shell around `istiod.sources`.

Unlike istiod's own source nothing is followed: everything is read once. Names are paths as they were given.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from federation.model.errors import InvalidInput
from federation.model.findings import Finding, Severity
from istiod.api.kinds import Kind
from istiod.events import Event
from istiod.registry.contribution import Place
from istiod.snapshot import Snapshot, SnapshotBuilder
from istiod.sources.contents import Contents, MeshFile
from istiod.sources.files import SUFFIXES, read_text
from istiod.store import Store, Tables

STDIN = "-"
PLACE = Place("cluster", "network")  # where files are read that do not say where they are for


def read_files(paths: Sequence[str], recursive: bool) -> dict[str, str | Finding]:
    """Texts by name (or why one cannot be used) of files, of the YAML and JSON files in directories, and of `-`.

    With `recursive` what is below the directories counts too. Raises InvalidInput for a path that leads nowhere.
    """
    found: dict[str, str | Finding] = {}
    for given in paths:
        if given == STDIN:
            found[STDIN] = sys.stdin.read()
            continue
        path = Path(given)
        if not path.exists():
            raise InvalidInput([_wrong(given, "does not exist", "give files, directories or -")])
        for file in _files(path, recursive) if path.is_dir() else (path,):
            found[str(file)] = read_text(file)
    return found


def skipped_directories(paths: Sequence[str]) -> list[str]:
    """Directories below the given ones that hold files which only `-R` reads."""
    below = {
        str(file.parent)
        for given in paths
        if given != STDIN and Path(given).is_dir()
        for file in set(_files(Path(given), True)) - set(_files(Path(given), False))
    }
    return sorted(below)


def _files(directory: Path, recursive: bool) -> Iterator[Path]:
    for path in sorted(directory.rglob("*") if recursive else directory.iterdir()):
        inside = path.relative_to(directory)
        if path.is_file() and path.suffix in SUFFIXES and not any(part.startswith(".") for part in inside.parts):
            yield path


def snapshot_of(
    files: Mapping[str, str | Finding], mesh_config: Path | None = None, mesh_networks: Path | None = None
) -> Snapshot:
    """The snapshot that istiod would have of these files."""
    return SnapshotBuilder(PLACE).build(tables_of(files, mesh_config, mesh_networks))


def tables_of(
    files: Mapping[str, str | Finding], mesh_config: Path | None = None, mesh_networks: Path | None = None
) -> Tables:
    """The objects in these files."""
    contents = Contents()
    for name, text in files.items():
        if isinstance(text, Finding):
            contents.refuse(name, text)
        else:
            contents.put(name, text)
    store = Store()
    store.apply(contents.events())
    for kind, path in ((Kind.MESH_CONFIG, mesh_config), (Kind.MESH_NETWORKS, mesh_networks)):
        if path is not None:
            store.apply(_mesh(kind, path))
    return store.tables()


def _mesh(kind: Kind, path: Path) -> list[Event]:
    text = read_text(path)
    file = MeshFile(kind, path.name)
    return file.refuse(text) if isinstance(text, Finding) else file.put(text)


def _wrong(path: str, message: str, fix: str) -> Finding:
    return Finding(Severity.ERROR, "NoFile", path, "", message, fix)
