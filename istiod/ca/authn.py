"""Who is on the other end of a stream or call. The answer never comes from what a node says of itself.

Knows bearer tokens; a peer without one on a TLS listener is refused, and on the plaintext listener is anonymous: it
may have configuration, never a certificate.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from federation.model.errors import Denied
from federation.model.identity import SpiffeId
from federation.pki.token import verify_token
from istiod.view.proxy import Proxy


class Authenticator:
    """Verifies workload tokens of one cluster with a public key file, read anew for each call so that it may be
    rotated.
    """

    def __init__(self, key_file: Path | None, cluster: str, trust_domain: str) -> None:
        self._key_file = key_file
        self._cluster = cluster
        self._trust_domain = trust_domain

    def identify(self, context: Any) -> SpiffeId:
        """The identity that a call's credentials prove; raises Denied."""
        token = _bearer(context)
        if not token:
            raise Denied("no credentials: send a workload token as `authorization: Bearer …`")
        if self._key_file is None:
            raise Denied("this control plane has no key to verify workload tokens with (--workload-token-key)")
        try:
            public = self._key_file.read_bytes()
        except OSError as error:
            raise Denied(f"the key of workload tokens cannot be read: {error.strerror}") from error
        found = verify_token(token, public, self._cluster, time.time())
        return SpiffeId(self._trust_domain, found.namespace, found.service_account)

    async def authorize(self, context: Any, proxy: Proxy, secure: bool) -> str:
        """The identity of a proxy's stream, "" for an anonymous one; raises Denied if it claims to be somebody else."""
        if not secure:
            return ""
        identity = self.identify(context)
        check_claim(identity, proxy)
        return str(identity)


def check_claim(identity: SpiffeId, proxy: Proxy) -> None:
    """Raise Denied if a node claims another namespace or service account than its credentials prove. A node may leave
    its service account out, as to Istio.
    """
    if proxy.namespace != identity.namespace:
        raise Denied(
            f"the proxy claims namespace {proxy.namespace[:100]!r}, its credentials are for {identity.namespace!r}"
        )
    if proxy.service_account and proxy.service_account != identity.service_account:
        raise Denied(
            f"the proxy claims service account {proxy.service_account[:100]!r},"
            f" its credentials are for {identity.service_account!r}"
        )


def _bearer(context: Any) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization" and isinstance(value, str) and value.lower().startswith("bearer "):
            return value[7:].strip()
    return ""
