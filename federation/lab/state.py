"""What a lab has made, as a journal: one JSON line per thing, written before it is made.

The state of a lab is the sum of its lines, so that a command that dies half way leaves a record of all it may have
made, and several commands can write at once (each line is one write). Pure but for `Journal`, which reads and
appends.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from federation.lab.config import LabConfig

MAX_JOURNAL_BYTES = 64 << 20


class Created(msgspec.Struct, frozen=True, tag="created"):
    """The lab itself; from here on its namespaces may exist. `config` is a LabConfig as JSON."""

    name: str
    prefix: str
    config: str


class ProcessSpec(msgspec.Struct, frozen=True, tag="process"):
    """A process that may run from here on. `node` owns it; `resolver` is a resolv.conf for it, or empty.

    `uid` 0 keeps all rights; others are left with the right to read files, so that a lab may lie in anybody's home.
    """

    key: str
    node: str
    netns: str
    argv: tuple[str, ...]
    log: str
    uid: int = 0
    resolver: str = ""
    env: dict[str, str] = {}


class Started(msgspec.Struct, frozen=True, tag="started"):
    """Its process id, with the kernel's start time, since ids are used again."""

    key: str
    pid: int
    born: int


class FaultRule(msgspec.Struct, frozen=True):
    """One firewall rule that a fault added."""

    netns: str
    table: str
    rule: str


class Fault(msgspec.Struct, frozen=True, tag="fault"):
    """Something that is broken on purpose: rules added, processes killed or frozen, delay lines running (process
    keys).
    """

    id: str
    what: str
    how: str
    at: float
    rules: tuple[FaultRule, ...] = ()
    killed: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()


class Healed(msgspec.Struct, frozen=True, tag="healed"):
    """A fault that is no more."""

    id: str


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """`up` has come to its end, after so many seconds."""

    seconds: float


Entry = Created | ProcessSpec | Started | Fault | Healed | Ready


@dataclass(slots=True)
class LabState:
    """The sum of a journal."""

    created: Created | None = None
    ready: Ready | None = None
    processes: dict[str, ProcessSpec] = field(default_factory=dict)
    started: dict[str, Started] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)

    @property
    def config(self) -> LabConfig:
        """The configuration that the lab was made from."""
        assert self.created is not None
        return LabConfig.model_validate_json(self.created.config)

    def add(self, entry: Entry) -> None:
        """Take one entry into account."""
        match entry:
            case Created():
                self.created = entry
            case ProcessSpec(key=key):
                self.processes[key] = entry
            case Started(key=key):
                self.started[key] = entry
            case Fault(id=fault):
                self.faults[fault] = entry
            case Healed(id=fault):
                self.faults.pop(fault, None)
            case Ready():
                self.ready = entry


_decoder = msgspec.json.Decoder(Entry)


def replay(lines: Iterable[bytes]) -> LabState:
    """The state after these lines. A line that was cut off by a crash is passed over."""
    state = LabState()
    for line in lines:
        try:
            state.add(_decoder.decode(line))
        except msgspec.DecodeError:
            continue
    return state


class Journal:
    """The file of one lab."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> LabState:
        """The state now; empty if there is no journal."""
        try:
            with self.path.open("rb") as file:
                return replay(file.read(MAX_JOURNAL_BYTES).splitlines())
        except FileNotFoundError:
            return LabState()

    def append(self, *entries: Entry) -> None:
        """Write entries; they are in the file when this returns."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            # A line that a crash cut off must not swallow the next one.
            lines = b"".join(b"\n" + msgspec.json.encode(entry) for entry in entries)
            os.write(descriptor, lines + b"\n")
        finally:
            os.close(descriptor)
