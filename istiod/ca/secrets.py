"""Serves each proxy its certificate over its own ADS stream, and the next one at half life.

Keys live in memory only. A proxy that reconnects gets the certificate it had, as long as that is young; the number of
certificates kept is bounded.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict

import structlog

from federation.model.identity import SpiffeId
from federation.runtime.latest import Latest
from istiod.ca.issuer import Certificate, Issuer, utc_now
from istiod.encode.secrets import encode_certificate, encode_roots
from istiod.xds.stream import Stream

log = structlog.get_logger("ca")
KEPT = 20_000
CERTIFICATE, ROOTS = "default", "ROOTCA"


class SecretProvider:
    """One per process. `jitter` spreads renewals of proxies that started together."""

    def __init__(self, issuers: Latest[Issuer]) -> None:
        self._issuers = issuers
        self._kept: OrderedDict[tuple[str, str], tuple[Issuer, Certificate]] = OrderedDict()

    async def serve(self, stream: Stream, identity: str) -> None:
        """Give a stream its secrets until it ends."""
        version, issuer = await self._issuers.wait()
        proxy = stream.proxy.id if stream.proxy is not None else ""
        while True:
            certificate = self._certificate(proxy, identity, issuer)
            stream.certificate_issued, stream.certificate_expires = certificate.issued, certificate.not_after
            stream.secrets(
                {
                    CERTIFICATE: encode_certificate(CERTIFICATE, certificate.key_pem, certificate.chain_pem),
                    ROOTS: encode_roots(ROOTS, issuer.roots_pem),
                }
            )
            wait = max(0.0, certificate.renew_at - time.time())
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
