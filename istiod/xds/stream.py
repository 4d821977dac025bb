"""One client's stream in the process: its session, its proxy, and the wake-up of whoever writes to it.

The seam between the push path and a transport: the pipeline delivers, the transport takes bytes and writes them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from federation.runtime.latest import Latest
from istiod.encode.resource import SECRET, Resource
from istiod.view.proxy import Proxy
from istiod.xds.delivery import Delivery
from istiod.xds.metrics import CONVERGENCE, PUSHES, REJECTS, SHORT
from istiod.xds.session import Request, Session
from istiod.xds.status import ProxyStatus


class Stream:
    """Hands inputs to the session and remembers what is to be written. One writer awaits `outgoing()`."""

    def __init__(self, delta: bool, number: int) -> None:
        self._session = Session(delta, f"{number:x}-")
        self.delta = delta
        self._waiter: asyncio.Future[None] | None = None  # of the writer, while it has nothing to write
        self._started = time.monotonic()
        self.proxy: Proxy | None = None
        self.identity = ""
        self.certificate_issued: float | None = None  # Unix seconds, as is the next
        self.certificate_expires: float | None = None
        self._behind_since: float | None = None  # monotonic seconds, as is the next
        self._pushed_since: float | None = None
        self._workload: Mapping[str, Resource] = {}
        self._credentials: Mapping[str, Resource] = {}
        self._absent: frozenset[str] = frozenset()  # of the credentials that the client asks for
        self.secret_names: Latest[frozenset[str]] = Latest()  # those that the client asks for

    def request(self, request: Request) -> None:
        """The client said something."""
        if request.error:
            REJECTS.labels(SHORT.get(request.type_url, "other")).inc()
        self._session.on_request(request)
        if request.type_url == SECRET and (names := self._session.names(SECRET)) != self.secret_names.peek():
            self.secret_names.set(names)
        self._changed()

    def deliver(self, delivery: Delivery, since: float | None = None) -> None:
        """The class of this proxy has a new configuration; `since` a time, monotonic, if a change brought it about."""
        self._session.on_delivery(delivery)
        self._pushed(since)

    def move(self, delivery: Delivery, since: float | None = None) -> None:
        """The proxy belongs to another class now."""
        self._session.on_other_class(delivery)
        self._pushed(since)

    def secrets(self, secrets: Mapping[str, Resource]) -> None:
        """The proxy's own secrets changed."""
        self._workload = secrets
        self._session.on_secrets({**secrets, **self._credentials}, self._absent)
        self._changed()

    def credentials(self, credentials: Mapping[str, Resource], absent: frozenset[str]) -> None:
        """What the proxy may have of Kubernetes' Secrets changed; `absent` are names that stand for nothing."""
        self._credentials, self._absent = credentials, absent
        self._session.on_secrets({**self._workload, **credentials}, absent)
        self._changed()

    def _pushed(self, since: float | None) -> None:
        if self._pushed_since is None:
            self._pushed_since = since
        self._changed()

    def _changed(self) -> None:
        """See what an input has left: an acknowledgement, which is half of all, usually nothing to do."""
        if self._session.waiting:
            if self._behind_since is None:
                self._behind_since = time.monotonic()
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)
        elif self._behind_since is not None and self._session.idle:
            self._behind_since = None

    def subscribed(self) -> dict[str, dict[str, Resource]]:
        """What this proxy is to have now, by type and name. Secrets hold private keys: show their names only."""
        return self._session.subscribed()

    async def outgoing(self) -> list[bytes]:
        """Wait until there is something to write, and take it. Say `written()` when it is."""
        while not (responses := self._session.take()):
            if not self._session.waiting:
                self._pushed_since = None
                if self._session.idle:
                    self._behind_since = None
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        for type_url, _ in responses:
            PUSHES[type_url].inc()
        return [response for _, response in responses]

    def written(self) -> None:
        """All that was taken is written; a push ends when nothing of it is left to be said."""
        if self._pushed_since is not None and not self._session.waiting:
            CONVERGENCE.observe(time.monotonic() - self._pushed_since)
            self._pushed_since = None

    def status(self, now: float, wall: float) -> ProxyStatus:
        """Where this proxy stands. `now` is monotonic, `wall` Unix seconds."""
        proxy = self.proxy
        return ProxyStatus(
            id=proxy.id if proxy else "",
            type=proxy.type.value if proxy else "",
            cluster=proxy.cluster if proxy else "",
            network=proxy.network if proxy else "",
            namespace=proxy.namespace if proxy else "",
            identity=self.identity,
            connected=now - self._started,
            delta=self.delta,
            types=self._session.status(),
            certificate_seconds_left=None if self.certificate_expires is None else self.certificate_expires - wall,
            certificate_life_seconds=None
            if self.certificate_expires is None or self.certificate_issued is None
            else self.certificate_expires - self.certificate_issued,
            behind=0.0 if self._behind_since is None else now - self._behind_since,
        )
