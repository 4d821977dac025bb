from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from federation.pki.bundle import CERT, KEY, ROOT, save_authority
from federation.pki.issue import pem_of
from federation.pki.keys import encode_key
from istiod.ca.authority_files import AuthorityFiles
from istiod.ca.issuer import Issuer

Make = Callable[..., Issuer]


def write(directory: Path, issuer: Issuer) -> None:
    pem = pem_of(issuer.authority.certificate)
    save_authority(directory, pem, encode_key(issuer.authority.key), pem, issuer.roots_pem)


def files(directory: Path) -> AuthorityFiles:
    return AuthorityFiles(directory, "west.m1", timedelta(hours=1))


def loaded(followed: AuthorityFiles) -> Issuer:
    issuer = followed.issuers.peek()
    assert issuer is not None
    return issuer


def test_the_ca_of_the_directory_is_used(tmp_path: Path, make_issuer: Make) -> None:
    write(tmp_path, make_issuer())
    followed = files(tmp_path)
    assert followed.issuers.peek() is None
    assert followed.validity() is None
    followed.load()
    assert (loaded(followed).trust_domain, loaded(followed).ttl) == ("west.m1", timedelta(hours=1))
    validity = followed.validity()
    assert validity is not None
    assert validity[1] - validity[0] == timedelta(days=365, minutes=2)


def test_files_that_stay_are_read_once(tmp_path: Path, make_issuer: Make) -> None:
    write(tmp_path, make_issuer())
    followed = files(tmp_path)
    for _ in range(3):
        followed.load()
    assert followed.issuers.version == 1


def test_a_damaged_file_changes_nothing_until_it_is_mended(tmp_path: Path, make_issuer: Make) -> None:
    write(tmp_path, make_issuer())
    followed = files(tmp_path)
    followed.load()
    before = loaded(followed)
    for name in (CERT, KEY, ROOT):
        good = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(good[: len(good) // 2])
        followed.load()
        assert followed.issuers.peek() is before
        (tmp_path / name).write_bytes(good)
        followed.load()
        assert loaded(followed).authority.certificate == before.authority.certificate
        before = loaded(followed)


def test_without_files_there_is_no_issuer(tmp_path: Path) -> None:
    followed = files(tmp_path / "none")
    followed.load()
    assert followed.issuers.peek() is None


def test_a_cluster_alone_makes_its_own_once(tmp_path: Path) -> None:
    first = files(tmp_path / "ca")
    first.ensure("west")
    key = (tmp_path / "ca" / KEY).read_bytes()
    assert (tmp_path / "ca" / KEY).stat().st_mode & 0o777 == 0o600
    second = files(tmp_path / "ca")
    second.ensure("west")
    assert (tmp_path / "ca" / KEY).read_bytes() == key
    second.load()
    assert loaded(second).roots_pem


async def test_a_replaced_ca_is_followed(tmp_path: Path, make_issuer: Make) -> None:
    write(tmp_path, make_issuer())
    followed = files(tmp_path)
    running = asyncio.create_task(followed.run())
    try:
        async with asyncio.timeout(15):
            version, _ = await followed.issuers.wait()
            fresh = make_issuer()
            write(tmp_path, fresh)
            while loaded(followed).authority.certificate != fresh.authority.certificate:
                version, _ = await followed.issuers.wait(version)
    finally:
        running.cancel()


def test_a_ca_that_may_not_sign_for_this_trust_domain_is_not_used(tmp_path: Path, make_issuer: Make) -> None:
    """Every peer would refuse what it signs, one handshake at a time; said once, at the start."""
    write(tmp_path, make_issuer())
    followed = AuthorityFiles(tmp_path, "cluster.local", timedelta(hours=1))
    followed.load()
    assert followed.issuers.peek() is None
    (finding,) = followed.findings
    assert finding.code == "CaUnusable"
    assert "trust domain west.m1 alone, not for 'cluster.local': give --trust-domain west.m1" in finding.message


def test_what_is_wrong_with_the_files_is_a_finding_until_it_is_mended(tmp_path: Path, make_issuer: Make) -> None:
    write(tmp_path, make_issuer())
    good = (tmp_path / KEY).read_bytes()
    (tmp_path / KEY).write_bytes(b"no key")
    followed = files(tmp_path)
    followed.load()
    assert [finding.code for finding in followed.findings] == ["CaUnusable"]
    (tmp_path / KEY).write_bytes(good)
    followed.load()
    assert followed.findings == ()
