"""ProxyConfig: how a proxy is started. Nothing of it travels by xDS: whoever starts a proxy asks for it.

Rules: ProxyConfig reference. Which of several is meant for a workload is decided in `istiod.resolve.proxyconfig`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from istiod.api.attachment import check_attachment
from istiod.api.fields import Model, PolicySelector
from istiod.api.problems import Problem

MAX_THREADS = 1024
_VARIABLE = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")  # as Kubernetes takes them
_IMAGE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")  # a part of an image's tag


class ProxyImage(Model):
    """Which image: `default`, `debug`, `distroless`, or an own word."""

    image_type: str = ""


class ProxyConfig(Model):
    """networking.istio.io ProxyConfig. `concurrency` counts worker threads, 0 = one for each core."""

    selector: PolicySelector | None = None
    concurrency: Annotated[int, Field(ge=0, le=MAX_THREADS)] | None = None
    environment_variables: dict[str, str] = {}
    image: ProxyImage | None = None

    @property
    def target_ref(self) -> None:
        """Workloads are selected by labels only."""

    @property
    def target_refs(self) -> tuple[()]:
        """Workloads are selected by labels only."""
        return ()


def validate(config: ProxyConfig) -> Iterator[Problem]:
    """Istio's rules for ProxyConfig beyond types."""
    yield from check_attachment(config)
    for name in config.environment_variables:
        if not _VARIABLE.fullmatch(name):
            path = f"spec.environmentVariables.{name[:100]}"
            yield Problem(path, "is no name of a variable", "use letters, digits, '_', '-' and '.'")
    if config.image is not None and config.image.image_type and not _IMAGE.fullmatch(config.image.image_type):
        message = f"{config.image.image_type[:80]!r} is no part of an image's tag"
        yield Problem("spec.image.imageType", message, "use default, debug or distroless")
