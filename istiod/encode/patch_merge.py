"""MERGE of EnvoyFilter: a message into another one of its type. Pure but for the message that is written to.

Rules: protobuf's merge (scalars are written over, lists grow, entries of maps are replaced), with what Istio does
otherwise: durations are replaced, and an Any is merged inside where both hold the same type. So a `false` or `0` in a
wrapper (BoolValue, UInt32Value, …) changes nothing, as it is not told from one that is not given.
"""

from __future__ import annotations

from google.protobuf.any_pb2 import Any
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from istiod.encode.patch import message_type
from istiod.encode.wire import pack

_WHOLE = "google.protobuf.Duration"


def merge(target: Message, value: Message, replace_lists: bool = False) -> None:
    """Merge `value` into `target`, of the same type; lists are written over with `replace_lists`."""
    for field, said in value.ListFields():
        if field.is_repeated:
            _merge_many(target, field, said, replace_lists)
        elif field.message_type is None:
            setattr(target, field.name, said)
        elif field.message_type.full_name == _WHOLE:
            getattr(target, field.name).CopyFrom(said)
        elif field.message_type.full_name == "google.protobuf.Any":
            merge_any(getattr(target, field.name), said, replace_lists)
        else:
            inner = getattr(target, field.name)
            inner.SetInParent()
            merge(inner, said, replace_lists)


def merge_any(target: Any, value: Any, replace_lists: bool = False) -> None:
    """Merge what is inside if the types agree, else take the other one whole."""
    made = message_type(value.type_url)
    if made is None or target.type_url != value.type_url:
        target.CopyFrom(value)
        return
    inside = made.FromString(target.value)
    merge(inside, made.FromString(value.value), replace_lists)
    target.CopyFrom(pack(inside))


def _merge_many(target: Message, field: FieldDescriptor, said: object, replace_lists: bool) -> None:
    entry = field.message_type
    there = getattr(target, field.name)
    if entry is not None and entry.GetOptions().map_entry:
        valued = entry.fields_by_name["value"].message_type is not None
        for key in said:  # type: ignore[attr-defined]
            if valued:
                there[key].CopyFrom(said[key])  # type: ignore[index]
            else:
                there[key] = said[key]  # type: ignore[index]
        return
    if replace_lists:
        del there[:]
    there.extend(said)
