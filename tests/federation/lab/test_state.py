"""The journal: its sum is the state, whatever was cut off."""

from __future__ import annotations

from pathlib import Path

import msgspec

from federation.lab.config import default_config
from federation.lab.state import Created, Entry, Fault, Healed, Journal, ProcessSpec, Ready, Started, replay

ENTRIES: tuple[Entry, ...] = (
    Created("lab", "p-", default_config().model_dump_json()),
    ProcessSpec("a", "east/a", "p-east-a", ("sleep", "1"), "/tmp/log"),
    Started("a", 10, 100),
    Fault("f1", "east", "kill", 1.0, killed=("a",)),
    Started("a", 11, 200),
    Healed("f1"),
    Fault("f2", "west", "hang", 2.0),
    Ready(3.5),
)


def test_the_state_is_the_sum(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "lab" / "journal.jsonl")
    assert journal.read().created is None
    for entry in ENTRIES:
        journal.append(entry)
    state = journal.read()
    assert state.config == default_config()
    assert state.started["a"] == Started("a", 11, 200)
    assert list(state.faults) == ["f2"]
    assert state.ready == Ready(3.5)


def test_a_cut_line_costs_only_itself(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append(*ENTRIES[:3])
    content = journal.path.read_bytes()
    for length in range(len(content)):
        journal.path.write_bytes(content[:length])
        journal.append(ENTRIES[6])
        assert list(journal.read().faults) == ["f2"]


def test_other_lines_are_passed_over() -> None:
    lines = [b"", b"null", b'{"type":"unknown"}', msgspec.json.encode(ENTRIES[1]), b"\xff"]
    assert list(replay(lines).processes) == ["a"]
