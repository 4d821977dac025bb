"""The base of all models, and the field types that Istio's API is made of.

Models are frozen pydantic classes: Istio's camelCase names outside, snake_case inside; unknown fields are errors.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

_PARTS = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(h|ms|us|µs|ns|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_OF_URLS = str.maketrans("-_", "+/")


def parse_duration(text: Any) -> float:
    """Seconds of a Go or protobuf duration (`1h30m`, `1.5s`, `100ms`); raises ValueError that says the form."""
    if not isinstance(text, str) or not text or _PARTS.sub("", text):
        if text in (0, "0"):
            return 0.0
        raise ValueError("a duration like 10s, 1.5s, 100ms or 1h30m is wanted")
    return sum(float(amount) * _SECONDS[unit] for amount, unit in _PARTS.findall(text))


def parse_base64(text: Any) -> Any:
    """The same bytes in the standard alphabet with padding; as in protobuf's JSON the alphabet of URLs and missing
    padding are fine. Raises ValueError for anything else.
    """
    if not isinstance(text, str):
        return text
    bare = text.translate(_OF_URLS).rstrip("=")
    padded = bare + "=" * (-len(bare) % 4)
    try:
        b64decode(padded, validate=True)
    except Base64Error as error:
        raise ValueError("bytes in base64 are wanted") from error
    return padded


MAX_SECONDS = 315_576_000_000  # what a protobuf Duration holds, 10,000 years
Duration = Annotated[float, BeforeValidator(parse_duration), Field(ge=0, le=MAX_SECONDS)]
Base64 = Annotated[str, BeforeValidator(parse_base64)]
Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
Port = Annotated[int, Field(ge=1, le=65535)]
MatchPort = Annotated[Port | None, BeforeValidator(lambda port: port or None)]  # 0 is none, as in protobuf
Percent = Annotated[float, Field(ge=0, le=100)]
PercentInt = Annotated[int, Field(ge=0, le=100)]


class Model(BaseModel):
    """A frozen message of the API; unknown fields are errors."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        allow_inf_nan=False,
        defer_build=True,
    )


class LenientModel(BaseModel):
    """A frozen message of somebody else's API (Kubernetes): what is not read here is ignored."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True, defer_build=True
    )


class StringMatch(Model):
    """One of exact, prefix and regex; none of them means that the thing is present."""

    exact: str | None = None
    prefix: str | None = None
    regex: str | None = None


class PercentValue(Model):
    """A percentage with decimals."""

    value: Percent = 0.0


class WorkloadSelector(Model):
    """Selects workloads by labels, as ServiceEntry and Sidecar spell it."""

    labels: dict[str, str] = {}

    @property
    def all_labels(self) -> dict[str, str]:
        """The labels wanted, however they are spelled."""
        return self.labels


class PolicySelector(Model):
    """Selects workloads by labels, as DestinationRule and the security kinds spell it."""

    match_labels: dict[str, str] = {}

    @property
    def all_labels(self) -> dict[str, str]:
        """The labels wanted, however they are spelled."""
        return self.match_labels
