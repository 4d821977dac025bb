from pathlib import Path

import pytest

from federation.model.findings import Finding
from federation.snapshot_file import SavedFederation, load, save
from federation.table import Raw

SAVED = SavedFederation(
    "m1", "store-1", 1_700_000_000.0, {"west": {"/isthmus/m1/v1/c/west/heartbeat": Raw(b"\x08\x01", 7)}}
)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "federation.snapshot"
    save(path, SAVED)
    assert load(path, "m1") == SAVED
    assert path.stat().st_mode & 0o777 == 0o600


def test_none_without_a_file(tmp_path: Path) -> None:
    assert load(tmp_path / "nothing", "m1") is None


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-3], lambda b: b[:20], lambda b: b"", lambda b: b[:-1] + b"x", lambda b: b"x" + b]
)
def test_a_damaged_file_is_named_and_set_aside(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "federation.snapshot"
    save(path, SAVED)
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    finding = load(path, "m1")
    assert isinstance(finding, Finding)
    assert finding.code == "SnapshotUnreadable"
    assert not path.exists()
    assert path.with_name("federation.snapshot.bad").exists()


def test_another_meshs_file_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "federation.snapshot"
    save(path, SAVED)
    assert isinstance(load(path, "other"), Finding)
