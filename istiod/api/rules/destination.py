"""What Istio's validator says of a destination, wherever one stands."""

from __future__ import annotations

from collections.abc import Iterator

from istiod.api.problems import Problem
from istiod.api.rules.values import is_host, is_label
from istiod.api.virtualservice import Destination


def check_destination(destination: Destination, path: str) -> Iterator[Problem]:
    """A host that is one service's, and a subset that can be a name."""
    if not destination.host:
        yield Problem(f"{path}.host", "is empty", "name a service")
    elif destination.host == "*" or not is_host(destination.host):
        yield Problem(f"{path}.host", f"{destination.host[:100]!r} is no host", "name a service")
    if destination.subset and not is_label(destination.subset):
        yield Problem(f"{path}.subset", f"{destination.subset[:100]!r} is no name", "use letters, digits and '-'")
