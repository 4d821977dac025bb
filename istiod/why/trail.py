"""What was found out so far about a request, and how it ended. Filled by the steps of `istiod.why.explain`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from istiod.why.answer import Answer, Cause, Outcome, Step, Upstream
from istiod.why.request import Request


class Ended(Exception):
    """The request goes no further; the reason has become a step."""

    def __init__(self, outcome: Outcome, status: int | None, reason: str) -> None:
        super().__init__(reason)
        self.outcome, self.status, self.reason = outcome, status, reason


@dataclass(slots=True)
class Trail:
    """The steps in order, and the names that were met."""

    request: Request
    steps: list[Step] = field(default_factory=list)
    listener: str = ""
    chain: str = ""
    route_configuration: str = ""
    virtual_host: str = ""
    route: str = ""
    upstreams: tuple[Upstream, ...] = ()
    doubts: list[str] = field(default_factory=list)

    def add(self, topic: str, said: str, causes: Iterable[Cause] = ()) -> None:
        """One more step."""
        self.steps.append(Step(topic, said, tuple(causes)))

    def doubt(self, topic: str, said: str, causes: Iterable[Cause] = ()) -> None:
        """A step whose outcome cannot be told from here."""
        self.add(topic, said, causes)
        self.doubts.append(said)

    def end(self, topic: str, said: str, causes: Iterable[Cause] = (), status: int | None = None) -> Ended:
        """The last step of a request that is refused, to be raised; without a status the connection is closed."""
        self.add(topic, said, causes)
        return Ended(Outcome.REFUSED, status, said)

    def answered(self, topic: str, said: str, causes: Iterable[Cause], status: int) -> Ended:
        """The last step of a request that the proxy answers itself, to be raised; from 400 on it counts as refused."""
        self.add(topic, said, causes)
        return Ended(Outcome.REFUSED if status >= 400 else Outcome.ANSWERED, status, said)

    def answer(self, proxy: str, ended: Ended | None) -> Answer:
        """Everything as the answer; a request that did not end is passed on."""
        outcome = ended.outcome if ended is not None else Outcome.ROUTED
        reason = ended.reason if ended is not None else "passed on"
        if self.doubts and (ended is None or ended.outcome is not Outcome.REFUSED):
            outcome, reason = Outcome.UNKNOWN, "; ".join(self.doubts)
        return Answer(
            proxy=proxy,
            request=str(self.request),
            outcome=outcome,
            status=ended.status if ended is not None else None,
            reason=reason,
            steps=tuple(self.steps),
            listener=self.listener,
            chain=self.chain,
            route_configuration=self.route_configuration,
            virtual_host=self.virtual_host,
            route=self.route,
            upstreams=self.upstreams,
        )
