from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from federation.model.names import NamespacedName
from istiod.api.kinds import Kind
from istiod.events import MESH_KEY, Event, Upsert
from istiod.sources import files as module
from istiod.sources.files import FilesSource
from istiod.store import Store

DEADLINE = 3.0


def entry(name: str, host: str = "a.com") -> str:
    return (
        f"apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}, namespace: apps}}\n"
        f"spec: {{hosts: [{host}], ports: [{{number: 80, name: http}}]}}\n"
    )


class World:
    """A store that a source writes to, and a way to wait for it."""

    def __init__(self) -> None:
        self.store = Store()
        self.batches: list[Sequence[Event]] = []
        self._changed = asyncio.Event()

    def emit(self, events: Sequence[Event]) -> None:
        self.batches.append(events)
        self.store.apply(events)
        self._changed.set()

    async def until(self, holds: Callable[[], bool]) -> float:
        """Seconds until it held."""
        started = time.monotonic()
        async with asyncio.timeout(DEADLINE):
            while not holds():
                self._changed.clear()
                await self._changed.wait()
        return time.monotonic() - started

    def hosts(self) -> dict[str, str]:
        table = self.store.tables().of(Kind.SERVICE_ENTRY)
        return {key.name: item.spec.hosts[0] for key, item in table.items()}

    def codes(self) -> list[tuple[str, str]]:
        return [(one.code, one.object) for one in self.store.tables().findings]

    @property
    def synced(self) -> bool:
        return "files" in self.store.tables().synced

    async def has(self, **hosts: str) -> float:
        return await self.until(lambda: self.hosts() == hosts)


@asynccontextmanager
async def following(source: FilesSource) -> AsyncIterator[World]:
    world = World()
    task = asyncio.create_task(source.run(world.emit))
    try:
        yield world
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config").mkdir()
    return tmp_path / "config"


def replace(path: Path, text: str) -> None:
    """Write elsewhere, then rename over."""
    fresh = path.parent.parent / f"{path.name}.new"
    fresh.write_text(text)
    fresh.rename(path)


async def test_first_look_is_one_batch_and_then_synced(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / f"{name}.yaml").write_text(entry(name))
    async with following(FilesSource(folder)) as world:
        await world.until(lambda: world.synced)
        assert world.hosts() == {"a": "a.com", "b": "a.com"}
        assert len(world.batches) == 1


async def test_rename_write_delete_and_new_folders(folder: Path) -> None:
    async with following(FilesSource(folder)) as world:
        await world.until(lambda: world.synced)
        replace(folder / "a.yaml", entry("a"))
        await world.has(a="a.com")
        replace(folder / "a.yaml", entry("a", "b.com"))
        await world.has(a="b.com")
        (folder / "a.yaml").write_text(entry("a", "c.com"))
        await world.has(a="c.com")
        (folder / "x" / "y").mkdir(parents=True)
        (folder / "x" / "y" / "d.json").write_text(entry("d"))
        await world.has(a="c.com", d="a.com")
        (folder / "x" / "y" / "d.json").write_text(entry("d", "e.com"))
        await world.has(a="c.com", d="e.com")
        (folder / "a.yaml").unlink()
        await world.has(d="e.com")
        (folder / "x").rename(folder / "z")
        (folder / "z" / "y" / "f.yml").write_text(entry("f"))
        await world.has(d="e.com", f="a.com")
        (folder / "z").rename(folder.parent / "gone")
        await world.has()


async def test_a_change_is_said_at_once(folder: Path) -> None:
    for number in range(300):
        (folder / f"{number}.yaml").write_text(entry(f"s{number}"))

    def is_host(host: str) -> bool:
        return world.hosts()["s5"] == host

    async with following(FilesSource(folder)) as world:
        await world.until(lambda: world.synced)
        seconds = []
        for number in range(10):
            replace(folder / "5.yaml", entry("s5", f"h{number}.com"))
            seconds.append(await world.until(partial(is_host, f"h{number}.com")))
        assert sorted(seconds)[5] < 0.1  # typically 0.015; the bound is for a busy machine


async def test_hidden_and_foreign_names_are_nobodys(folder: Path) -> None:
    (folder / ".git").mkdir()
    (folder / ".git" / "a.yaml").write_text(entry("a"))
    (folder / ".b.yaml").write_text(entry("b"))
    (folder / "notes.txt").write_text("kind: [")
    async with following(FilesSource(folder)) as world:
        await world.until(lambda: world.synced)
        (folder / ".b.yaml").write_text(entry("b"))
        (folder / "c.yaml.tmp").write_text(entry("c"))
        (folder / "d.yaml").write_text(entry("d"))
        await world.has(d="a.com")
        assert world.codes() == []


async def test_broken_file_is_named_and_the_rest_follows(folder: Path) -> None:
    (folder / "a.yaml").write_text(entry("a"))
    (folder / "b.yaml").write_text(entry("b"))
    async with following(FilesSource(folder)) as world:
        await world.until(lambda: world.synced)
        replace(folder / "a.yaml", "kind: [")
        (folder / "b.yaml").write_text(entry("b", "b.com"))
        await world.has(b="b.com")
        assert world.codes() == [("NotYaml", "File a.yaml")]
        replace(folder / "a.yaml", entry("a"))
        await world.has(a="a.com", b="b.com")
        assert world.codes() == []
        (folder / "a.yaml").write_bytes(b"\xff")
        os.mkfifo(folder / "pipe.yaml")
        await world.until(
            lambda: world.codes() == [("FileUnreadable", "File a.yaml"), ("FileUnreadable", "File pipe.yaml")]
        )
        assert world.hosts() == {"b": "b.com"}


async def test_writing_in_place_never_shows_an_empty_file(folder: Path) -> None:
    path = folder / "a.yaml"
    path.write_text(entry("a"))
    async with following(FilesSource(folder)) as world:
        await world.until(lambda: world.synced)
        with path.open("w") as file:  # truncated, and written a moment later
            await asyncio.sleep(0.05)
            file.write(entry("a", "b.com"))
        await world.has(a="b.com")
        said = [event for batch in world.batches for event in batch]
        assert [event.value.spec.hosts for event in said if isinstance(event, Upsert)] == [("a.com",), ("b.com",)]
        assert [type(event).__name__ for event in said if not isinstance(event, Upsert)] == ["Findings", "Synced"]
        path.write_text("")
        await world.has()  # and an empty file is empty in the end


async def test_duplicate_object(folder: Path) -> None:
    (folder / "b.yaml").write_text(entry("x", "b.com"))
    async with following(FilesSource(folder)) as world:
        await world.has(x="b.com")
        (folder / "a.yaml").write_text(entry("x", "a.com"))
        await world.has(x="a.com")
        assert world.codes() == [("DuplicateObject", "ServiceEntry apps/x")]
        (folder / "a.yaml").unlink()
        await world.has(x="b.com")
        assert world.codes() == []


async def test_directory_that_comes_goes_and_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "config"
    async with following(FilesSource(folder)) as world:
        await world.until(lambda: bool(world.codes()))
        assert world.codes() == [("DirectoryMissing", f"Directory {folder}")]
        assert not world.synced
        folder.mkdir(parents=True)
        (folder / "a.yaml").write_text(entry("a"))
        await world.has(a="a.com")
        assert world.synced
        folder.rename(tmp_path / "old")
        await world.until(lambda: bool(world.codes()))
        assert world.hosts() == {"a": "a.com"}  # a source that is lost takes nothing back
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "b.yaml").write_text(entry("b"))
        (tmp_path / "other").rename(folder)
        await world.has(b="a.com")
        assert world.codes() == []
        (folder / "c.yaml").write_text(entry("c"))
        await world.has(b="a.com", c="a.com")


async def test_swapped_links_as_in_a_mounted_config_map(folder: Path) -> None:
    for version, host in (("..1", "a.com"), ("..2", "b.com")):
        (folder / version).mkdir()
        (folder / version / "a.yaml").write_text(entry("a", host))
    (folder / "..data").symlink_to("..1")
    (folder / "a.yaml").symlink_to("..data/a.yaml")
    source = FilesSource(folder)
    async with following(source) as world:
        await world.has(a="a.com")
        async with asyncio.timeout(DEADLINE):
            while source._pending():  # noqa: ASYNC110 (a second look at the young file would find it anyhow)
                await asyncio.sleep(0.01)
        (folder / "..data_tmp").symlink_to("..2")
        (folder / "..data_tmp").rename(folder / "..data")
        await world.has(a="b.com")


async def test_mesh_files(folder: Path, tmp_path: Path) -> None:
    mesh, networks = tmp_path / "mesh.yaml", tmp_path / "networks.yaml"
    (folder / "a.yaml").write_text(entry("a"))
    networks.write_text("networks: {n1: {}}\n")

    def trust_domain() -> str | None:
        found = world.store.tables().of(Kind.MESH_CONFIG).get(MESH_KEY)
        return found.trust_domain if found else None

    async with following(FilesSource(folder, mesh, networks, "istio")) as world:
        await world.has(a="a.com")
        assert not world.synced
        assert world.codes() == [("FileUnreadable", "File mesh.yaml")]
        mesh.write_text("trustDomain: a.b\n")
        await world.until(lambda: trust_domain() == "a.b")
        assert world.synced
        (folder.parent / "sub").mkdir()
        replace(folder.parent / "sub" / ".." / "mesh.yaml", "trustDomain: [\n")
        await world.until(lambda: bool(world.codes()))
        assert trust_domain() == "a.b"
        replace(mesh, "trustDomain: c.d\n")
        await world.until(lambda: trust_domain() == "c.d")
        networks.write_text("networks: {n2: {}}\n")
        await world.until(lambda: "n2" in world.store.tables().of(Kind.MESH_NETWORKS)[MESH_KEY].networks)


async def test_polls_without_inotify(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(module, "Inotify", no_more)
    async with following(FilesSource(folder)) as world:
        await world.until(lambda: world.synced)
        (folder / "a.yaml").write_text(entry("a"))
        await world.has(a="a.com")


async def test_a_second_run_says_only_what_differs(folder: Path) -> None:
    (folder / "a.yaml").write_text(entry("a"))
    (folder / "b.yaml").write_text(entry("b"))
    source = FilesSource(folder)
    async with following(source) as world:
        await world.until(lambda: world.synced)
    (folder / "a.yaml").unlink()
    async with following(source) as world:
        await world.until(lambda: bool(world.batches))
    assert [repr(event) for batch in world.batches for event in batch] == [
        f"Delete(kind={Kind.SERVICE_ENTRY!r}, key={NamespacedName('apps', 'a')!r})"
    ]
