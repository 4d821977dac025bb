"""How a VirtualService names a claim of a verified token where a header's name would stand. Pure.

Rules: Istio's "JWT claim based routing" (`@request.auth.claims.a.b`, or `@request.auth.claims[a][b]` where a claim's
name has dots) and `HTTPMatchRequest`: at gateways only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from istiod.api.problems import Problem

MARK = "@request.auth.claims"


def routing_claim(name: str) -> tuple[str, ...] | None:
    """The path to a claim, outermost first; None for the name of a header, () if it is meant as a claim and is none."""
    if not name.lower().startswith(MARK):
        return None
    rest = name[len(MARK) :]
    if rest.startswith("."):
        claims = rest[1:].split(".")
    elif rest.startswith("[") and rest.endswith("]"):
        claims = rest[1:-1].split("][")
    else:
        return ()
    return tuple(claims) if all(claims) else ()


def check_claims(names: Iterable[str], path: str, at_gateway: bool) -> Iterator[Problem]:
    """Names of a match that are claims are well formed, and stand in a rule that is for gateways alone."""
    for name in names:
        claim = routing_claim(name)
        if claim == ():
            fix = f"write {MARK}.groups or {MARK}[groups]"
            yield Problem(f"{path}[{name[:80]}]", "names no claim", fix)
        elif claim is not None and not at_gateway:
            message = "tests a claim, which only gateways know"
            yield Problem(f"{path}[{name[:80]}]", message, "name gateways in spec.gateways, and not mesh")
