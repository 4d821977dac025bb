"""Finished resources back to plain data, for people who look at what a proxy was given."""

from __future__ import annotations

from typing import Any

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse
from google.protobuf import json_format, symbol_database

from istiod.encode.resource import Resource


def decode_resource(resource: Resource) -> Any:
    """The resource's message as protobuf's JSON has it, nested messages too; ValueError if it is not one."""
    framed = DeltaDiscoveryResponse.FromString(resource.delta)
    packed = framed.resources[0].resource
    name = packed.type_url.rpartition("/")[2]
    try:
        message = symbol_database.Default().GetSymbol(name)()
    except KeyError as unknown:
        raise ValueError(f"{name} is no message that this version makes") from unknown
    packed.Unpack(message)
    return json_format.MessageToDict(message)
