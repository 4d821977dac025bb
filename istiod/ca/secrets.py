"""Serves each proxy its certificate over its own ADS stream, and the next one at half life.

Keys live in memory only. A proxy that reconnects gets the certificate it had, as long as that is young; the number of
certificates kept is bounded.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import OrderedDict
from functools import cache
from pathlib import Path

import structlog

from federation.model.identity import SpiffeId
from federation.runtime.latest import Latest
from istiod.ca.issuer import Certificate, Issuer, utc_now
from istiod.encode.resource import Resource
from istiod.encode.secrets import encode_certificate, encode_roots
from istiod.xds.stream import Stream

log = structlog.get_logger("ca")
KEPT = 20_000
LEAST_SECONDS = 1.0  # between two certificates, also where the CA is about to end and every life is half the last one
CERTIFICATE, ROOTS, SYSTEM_ROOTS = "default", "ROOTCA", "file-root:system"


class SecretProvider:
    """One per process."""

    def __init__(self, issuers: Latest[Issuer]) -> None:
        self._issuers = issuers
        self._kept: OrderedDict[tuple[str, str], tuple[Issuer, Certificate]] = OrderedDict()

    async def serve(self, stream: Stream, identity: str) -> None:
        """Give a stream its secrets until it ends."""
        version, issuer = await self._issuers.wait()
        proxy = stream.proxy.id if stream.proxy is not None else ""
        while True:
            try:
                certificate = self._certificate(proxy, identity, issuer)
            except ValueError as wrong:  # what the proxy holds stays in use, and so does its stream
                log.warning("certificate_not_issued", proxy=proxy, identity=identity, error=str(wrong))
                version, issuer = await self._issuers.wait(version)
                continue
            stream.certificate_issued, stream.certificate_expires = certificate.issued, certificate.not_after
            stream.secrets(
                {
                    CERTIFICATE: encode_certificate(CERTIFICATE, certificate.key_pem, certificate.chain_pem),
                    ROOTS: encode_roots(ROOTS, issuer.roots_pem),
                    **system_roots(),
                }
            )
            wait = max(LEAST_SECONDS, certificate.renew_at - time.time())
            try:
                async with asyncio.timeout(wait):
                    version, issuer = await self._issuers.wait(version)
            except TimeoutError:
                log.info("certificate_renewed", proxy=proxy, identity=identity)

    def _certificate(self, proxy: str, identity: str, issuer: Issuer) -> Certificate:
        known = self._kept.get((proxy, identity))
        now = time.time()
        if known is not None and known[0] is issuer and now < known[1].renew_at:
            return known[1]
        certificate = issuer.workload(SpiffeId.parse(identity), utc_now(now))
        self._kept[proxy, identity] = (issuer, certificate)
        self._kept.move_to_end((proxy, identity))
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return certificate


@cache
def system_roots() -> dict[str, Resource]:
    """The public CAs of this machine, for proxies without an agent that would read their own; empty if it has none."""
    path = ssl.get_default_verify_paths().cafile
    return {SYSTEM_ROOTS: encode_roots(SYSTEM_ROOTS, Path(path).read_bytes())} if path else {}
