"""Envoy's format strings (`%PROTOCOL%`, `%REQ(x-user?x-id):8%`), which header values and access logs may hold. Pure.

Envoy refuses a whole listener or route configuration for one command it does not know, so they are tested here. The
lists are those of the Envoy that we ship, found by trial.
"""

from __future__ import annotations

import re

from istiod.api.cel import cel_problem


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_COMMAND = re.compile(r"%([A-Z0-9_]+)(\(.+?\))?(:\d{1,4})?%")
_ADDRESS = ("DIRECT_LOCAL_ADDRESS", "DIRECT_REMOTE_ADDRESS", "LOCAL_ADDRESS", "REMOTE_ADDRESS")
_TIMES = frozenset({"START_TIME", "START_TIME_LOCAL", "EMIT_TIME", "EMIT_TIME_LOCAL"})
_EITHER = (
    _TIMES
    | {f"DOWNSTREAM_{address}_WITHOUT_PORT" for address in _ADDRESS}
    | {f"UPSTREAM_{address}_WITHOUT_PORT" for address in _ADDRESS[2:]}
    | {f"{side}_PEER_CERT_V_{end}" for side in ("DOWNSTREAM", "UPSTREAM") for end in ("START", "END")}
    | {"RESPONSE_CODE_DETAILS"}
)
# Commands that need a part in parentheses, and those that may not have one.
_WITH_ARGUMENT = _EITHER | _words(
    """CEL CLUSTER_METADATA COMMON_DURATION DYNAMIC_METADATA ENVIRONMENT FILTER_STATE METADATA PER_REQUEST_STATE
    QUERY_PARAM REQ REQUEST_HEADER RESP RESPONSE_HEADER RESPONSE_TRAILER TRAILER
    UPSTREAM_FILTER_STATE UPSTREAM_METADATA"""
)
_BARE = (
    _EITHER
    | {f"DOWNSTREAM_{address}" for address in _ADDRESS}
    | {f"DOWNSTREAM_{kind}_{part}" for kind in ("LOCAL", "PEER") for part in
       ("DNS_SAN", "EMAIL_SAN", "IP_SAN", "OTHERNAME_SAN", "URI_SAN", "SUBJECT")}
    | {f"UPSTREAM_{kind}_{part}" for kind in ("LOCAL", "PEER") for part in ("DNS_SAN", "IP_SAN", "URI_SAN")}
    | {f"{side}_{part}" for side in ("DOWNSTREAM", "UPSTREAM") for part in
       _words("""DECOMPRESSED_HEADER_BYTES_RECEIVED DECOMPRESSED_HEADER_BYTES_SENT DETECTED_CLOSE_TYPE
       HEADER_BYTES_RECEIVED HEADER_BYTES_SENT LOCAL_CLOSE_REASON LOCAL_PORT PEER_CERT PEER_ISSUER PEER_SUBJECT
       REMOTE_PORT TLS_CIPHER TLS_GROUP TLS_SESSION_ID TLS_VERSION TRANSPORT_FAILURE_REASON WIRE_BYTES_RECEIVED
       WIRE_BYTES_SENT""")}
    | _words(
        """ACCESS_LOG_TYPE BYTES_RECEIVED BYTES_RETRANSMITTED BYTES_SENT CONNECTION_ID CONNECTION_TERMINATION_DETAILS
        CUSTOM_FLAGS DOWNSTREAM_CX_RTT DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID DOWNSTREAM_DIRECT_LOCAL_PORT
        DOWNSTREAM_DIRECT_REMOTE_PORT DOWNSTREAM_HANDSHAKE_DURATION DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID
        DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1 DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256 DOWNSTREAM_PEER_CHAIN_SERIALS
        DOWNSTREAM_PEER_FINGERPRINT_1 DOWNSTREAM_PEER_FINGERPRINT_256 DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256
        DOWNSTREAM_PEER_ISSUER_SERIAL DOWNSTREAM_PEER_SERIAL DURATION FILTER_CHAIN_NAME GRPC_STATUS GRPC_STATUS_NUMBER
        HOSTNAME LISTENER_NAME LOCAL_REPLY_BODY PATH PROTOCOL QUERY_PARAMS REQUESTED_SERVER_NAME REQUEST_DURATION
        REQUEST_HEADERS_BYTES REQUEST_TX_DURATION RESPONSE_CODE RESPONSE_DURATION RESPONSE_FLAGS RESPONSE_FLAGS_LONG
        RESPONSE_HEADERS_BYTES RESPONSE_TRAILERS_BYTES RESPONSE_TX_DURATION ROUNDTRIP_DURATION ROUTE_NAME SPAN_ID
        STREAM_ID TLS_JA3_FINGERPRINT TLS_JA4_FINGERPRINT TRACE_ID UNIQUE_ID UPSTREAM_CLUSTER UPSTREAM_CLUSTER_RAW
        UPSTREAM_CONNECTION_ID UPSTREAM_CONNECTION_IDS_ATTEMPTED UPSTREAM_CONNECTION_POOL_READY_DURATION UPSTREAM_HOST
        UPSTREAM_HOSTS_ATTEMPTED UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT UPSTREAM_HOST_NAME UPSTREAM_HOST_NAMES_ATTEMPTED
        UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT UPSTREAM_HOST_NAME_WITHOUT_PORT UPSTREAM_LOCAL_ADDRESS
        UPSTREAM_PROTOCOL UPSTREAM_REMOTE_ADDRESS UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID UPSTREAM_REQUEST_ATTEMPT_COUNT
        UPSTREAM_SERVER_NAME VIRTUAL_CLUSTER_NAME"""
    )
)  # fmt: skip


# What only logs know, by a formatter that stands beside their format.
LOG_ONLY = frozenset({"REQ_WITHOUT_QUERY"})


def format_problem(text: str, log: bool = False) -> str:
    """Why a text is no format string, or none of a `log`; "" if it is one."""
    at = text.find("%")
    while at >= 0:
        if text.startswith("%%", at):
            at = text.find("%", at + 2)
            continue
        found = _COMMAND.match(text, at)
        if found is None:
            return f"'%' at character {at + 1} begins no command"
        name, argument, length = found.groups()
        known = name in (_WITH_ARGUMENT if argument else _BARE) or (log and bool(argument) and name in LOG_ONLY)
        if not known or (length and not argument):
            return f"{found.group()[:80]!r} is no command that Envoy knows"
        wrong = cel_problem(argument[1:-1]) if name == "CEL" else ""
        if wrong:
            return f"{found.group()[:80]!r} holds no CEL expression: {wrong}"
        at = text.find("%", found.end())
    return ""
