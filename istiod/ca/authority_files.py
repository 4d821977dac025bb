"""Where this cluster's CA comes from: files with Istio's names, followed as they change; or made here on first start.

A CA that cannot be read signs nothing, but stops nothing either: what was loaded before stays in use, and reading
is tried again.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from cryptography import x509

from federation.model.findings import Finding, Severity
from federation.pki.bundle import CERT, KEY, ROOT, load_authority, save_authority
from federation.pki.issue import make_root, pem_of, sign_intermediate
from federation.pki.keys import encode_key, generate_key
from federation.runtime.latest import Latest
from istiod.ca.issuer import Issuer, utc_now

log = structlog.get_logger("ca")
LOOK_SECONDS = 1.0


class AuthorityFiles:
    """Loads the CA of a directory and follows it. `issuers` is empty until one was readable."""

    def __init__(self, directory: Path, trust_domain: str, ttl: timedelta) -> None:
        self._directory = directory
        self._trust_domain = trust_domain
        self._ttl = ttl
        self._seen: tuple[object, ...] = ()
        self.issuers: Latest[Issuer] = Latest()
        self.findings: tuple[Finding, ...] = ()

    def ensure(self, cluster: str) -> None:
        """Make a root and an intermediate of our own if the directory holds no CA: a cluster that is in no mesh yet."""
        if (self._directory / CERT).exists():
            return
        now = utc_now(time.time())
        root = make_root(cluster, now)
        key = generate_key()
        certificate = sign_intermediate(root, key.public_key(), cluster, self._trust_domain, now)
        save_authority(self._directory, certificate, encode_key(key), certificate, pem_of(root.certificate))
        log.info("ca_created", directory=str(self._directory))

    def load(self) -> None:
        """Read the files if they changed since the last time."""
        seen = tuple(_stamp(self._directory / name) for name in (CERT, KEY, ROOT))
        if seen == self._seen:
            return
        self._seen = seen
        try:
            authority, roots = load_authority(self._directory)
            check_trust_domain(authority.certificate, self._trust_domain)
        except (OSError, ValueError) as wrong:
            log.warning("ca_unreadable", error=str(wrong))
            fix = "mend the files; until then nothing new is signed, and what was signed stays valid"
            self.findings = (Finding(Severity.ERROR, "CaUnusable", f"CA {self._directory}", "", str(wrong), fix),)
            return
        self.findings = ()
        self.issuers.set(Issuer(authority, roots, self._trust_domain, self._ttl))

    def validity(self) -> tuple[datetime, datetime] | None:
        """Between which times the CA in use is valid; None while there is none."""
        issuer = self.issuers.peek()
        certificate = issuer.authority.certificate if issuer is not None else None
        return (certificate.not_valid_before_utc, certificate.not_valid_after_utc) if certificate is not None else None

    async def run(self) -> None:
        """Follow the files until cancelled."""
        while True:
            self.load()
            await asyncio.sleep(LOOK_SECONDS)


def check_trust_domain(certificate: x509.Certificate, trust_domain: str) -> None:
    """Raise ValueError if a CA may not sign identities of a trust domain: every peer would refuse them."""
    try:
        bound = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return
    names = [n.value for n in bound.permitted_subtrees or () if isinstance(n, x509.UniformResourceIdentifier)]
    fitting = any(name == trust_domain or (name[:1] == "." and trust_domain.endswith(name)) for name in names)
    if names and not fitting:
        message = f"its CA may sign for trust domain {', '.join(names)} alone, not for {trust_domain!r}"
        raise ValueError(f"{message}: give --trust-domain {names[0]}")


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return (stat.st_mtime_ns, stat.st_size, stat.st_ino)
