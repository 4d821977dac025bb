from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from federation.runtime.atomic import write_atomic


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_the_file_is_there_with_the_mode_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deeper" / "file"
    write_atomic(path, b"content", 0o644)
    assert path.read_bytes() == b"content"
    assert mode(path) == 0o644


def test_by_default_only_the_owner_reads(tmp_path: Path) -> None:
    write_atomic(tmp_path / "file", b"content")
    assert mode(tmp_path / "file") == 0o600


def test_the_mode_does_not_depend_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_atomic(tmp_path / "file", b"content", 0o644)
    finally:
        os.umask(before)
    assert mode(tmp_path / "file") == 0o644


def test_an_old_file_is_replaced_mode_and_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a longer old content")
    path.chmod(0o666)
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert mode(path) == 0o600


def test_who_has_it_open_keeps_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    with path.open("rb") as reader:
        write_atomic(path, b"new")
        assert reader.read() == b"old"


def test_nothing_else_is_left_in_the_directory(tmp_path: Path) -> None:
    write_atomic(tmp_path / "file", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_leaves_the_old_content_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomic(tmp_path / "file", b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_crash_while_writing_leaves_the_old_content(tmp_path: Path) -> None:
    """A process is killed when all is written and nothing renamed."""
    path = tmp_path / "file"
    write_atomic(path, b"old")
    program = f"""
import os, pathlib
from federation.runtime import atomic
os.fsync = lambda descriptor: os.kill(os.getpid(), {int(signal.SIGKILL)})
atomic.write_atomic(pathlib.Path({str(path)!r}), b"new")
"""
    ended = subprocess.run([sys.executable, "-c", program], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    left = [other for other in tmp_path.iterdir() if other != path]
    assert [mode(other) for other in left] == [0o600]  # what a crash leaves is no more readable than the file
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
