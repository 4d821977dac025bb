from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.join import (
    MAX_TOKEN_CHARACTERS,
    OPEN,
    PREFIX,
    REVOKED,
    USED,
    JoinRequest,
    JoinToken,
    TokenRecord,
    answer_key,
    check_grant,
    check_request,
    format_token,
    parse_token,
    request_key,
    token_key,
)
from federation.keys import Layout
from federation.model.errors import InvalidInput
from federation.records import SCHEMA
from federation.schema import records_pb2 as pb

NOW = 1_700_000_000.0
SECRET = b"-----BEGIN PRIVATE KEY-----\nsecret\n"
TOKEN = JoinToken(
    "m1", "3f9c2b7a", "west", "net-west", "eu-1", "west.m1", ("10.0.0.1:2379",), b"root", SECRET, b"cert", NOW + 60
)
TEXT = format_token(TOKEN)
RECORD = TokenRecord("3f9c2b7a", "west", "net-west", "eu-1", "west.m1", NOW - 60, NOW + 60)
REQUEST = JoinRequest(
    "3f9c2b7a", "west", "uid-1", "net-west", "eu-1", "west.m1", b"csr", b"csr", b"csr", NOW, SCHEMA, SCHEMA, "1"
)  # fmt: skip


def problems(
    *members: pb.Cluster, token: TokenRecord | None = RECORD, now: float = NOW, **asked: Any
) -> list[tuple[str, str]]:
    """Code and path of everything that stands against the request."""
    request = msgspec.structs.replace(REQUEST, **asked)
    return [(finding.code, finding.path) for finding in check_request(request, token, members, now)]


def member(name: str, uid: str = "uid-1", domain: str = "", state: str = "member") -> pb.Cluster:
    return pb.Cluster(schema=1, name=name, uid=uid, trust_domain=domain or f"{name}.m1", state=state)


def test_nothing_stands_against_a_request_as_granted() -> None:
    assert problems() == []
    assert problems(member("east")) == []


def test_an_unknown_token_admits_nobody() -> None:
    assert problems(token=None) == [("UnknownToken", "token")]


@pytest.mark.parametrize("state", [USED, REVOKED, "whatever"])
def test_a_token_that_is_not_open_admits_nobody(state: str) -> None:
    record = msgspec.structs.replace(RECORD, state=state)
    assert problems(token=record) == [("TokenNotOpen", "token")]
    (finding,) = check_request(REQUEST, record, (), NOW)
    assert state in finding.message
    assert finding.fix == "create a new token"


def test_a_token_runs_out() -> None:
    assert problems(now=RECORD.expires, sent=RECORD.expires) == []
    assert problems(now=RECORD.expires + 1, sent=RECORD.expires) == [("TokenExpired", "token")]


@pytest.mark.parametrize(
    ("field", "path"),
    [("cluster", "cluster"), ("network", "network"), ("region", "region"), ("trust_domain", "trustDomain")],
)
def test_only_what_was_granted_may_be_asked_for(field: str, path: str) -> None:
    assert problems(**{field: "other"}) == [("NotAsGranted", path)]
    (finding,) = check_request(msgspec.structs.replace(REQUEST, **{field: "other"}), RECORD, (), NOW)
    granted = getattr(RECORD, field)
    assert finding.message == f"'other' is asked for, the token is for {granted!r}"


def test_a_name_belongs_to_its_uid() -> None:
    assert problems(member("west", "uid-1")) == []
    assert problems(member("west", "uid-2")) == [("NameInUse", "cluster")]


def test_who_has_left_no_longer_holds_name_or_trust_domain() -> None:
    assert problems(member("west", "uid-2", state="left")) == []
    assert problems(member("east", "uid-2", "west.m1", state="left")) == []


@pytest.mark.parametrize("state", ["member", "leaving", ""])
def test_a_trust_domain_belongs_to_one_cluster(state: str) -> None:
    assert problems(member("east", domain="west.m1", state=state)) == [("TrustDomainInUse", "trustDomain")]


@pytest.mark.parametrize(("skew", "way"), [(61.0, "61 s ahead of"), (-61.0, "61 s behind")])
def test_clocks_may_not_be_apart(skew: float, way: str) -> None:
    assert problems(sent=NOW + skew) == [("ClockSkew", "clock")]
    (finding,) = check_request(msgspec.structs.replace(REQUEST, sent=NOW + skew), RECORD, (), NOW)
    assert way in finding.message


@pytest.mark.parametrize("sent", [float("nan"), float("inf"), -float("inf")])
def test_a_time_that_is_none_is_no_way_around_it(sent: float) -> None:
    assert problems(sent=sent) == [("ClockSkew", "clock")]


@pytest.mark.parametrize("skew", [60.0, -60.0, 0.0])
def test_a_little_skew_is_borne(skew: float) -> None:
    assert problems(sent=NOW + skew) == []


@pytest.mark.parametrize(
    ("least", "most", "fits"),
    [
        (SCHEMA, SCHEMA, True),
        (SCHEMA - 1, SCHEMA + 1, True),
        (SCHEMA + 1, SCHEMA + 2, False),
        (SCHEMA - 1, SCHEMA - 1, False),
        (SCHEMA + 1, SCHEMA - 1, False),
    ],
)
def test_the_schema_must_be_understood(least: int, most: int, fits: bool) -> None:
    expected = [] if fits else [("SchemaMismatch", "schema")]
    assert problems(schema_min=least, schema_max=most) == expected


def test_everything_is_said_at_once() -> None:
    record = TokenRecord("3f9c2b7a", "north", "net-north", "eu-2", "north.m1", NOW - 60, NOW - 1, USED)
    found = problems(
        member("west", "uid-2"),
        member("east", domain="west.m1"),
        token=record,
        sent=NOW - 3600,
        schema_min=SCHEMA + 1,
        schema_max=SCHEMA + 1,
    )
    assert found == [
        ("TokenNotOpen", "token"),
        ("TokenExpired", "token"),
        ("NotAsGranted", "cluster"),
        ("NotAsGranted", "network"),
        ("NotAsGranted", "region"),
        ("NotAsGranted", "trustDomain"),
        ("NameInUse", "cluster"),
        ("TrustDomainInUse", "trustDomain"),
        ("ClockSkew", "clock"),
        ("SchemaMismatch", "schema"),
    ]


def test_every_problem_says_what_to_do() -> None:
    record = TokenRecord("x", "n", "n", "n", "n", 0, 0, USED)
    members = (member("west", "uid-2"), member("east", domain="west.m1"))
    found = check_request(msgspec.structs.replace(REQUEST, sent=0.0, schema_max=0), record, members, NOW)
    assert len(found) == 10
    assert all(finding.fix for finding in found)
    assert {finding.object for finding in found} == {"Join request of west"}


@pytest.mark.parametrize(
    ("cluster", "network", "domain", "wrong"),
    [
        ("west", "net-west", "west.m1", []),
        ("w" * 47, "n" * 63, "t" * 253, []),
        ("w" * 48, "n" * 64, "t" * 254, ["cluster", "network", "trustDomain"]),
        ("", "", "", ["cluster", "network", "trustDomain"]),
        ("West", "net/west", "West.m1", ["cluster", "network", "trustDomain"]),
        ("we/st", "net west", "west.m1/x", ["cluster", "network", "trustDomain"]),
        ("west-", "-net", ".m1", ["cluster", "network", "trustDomain"]),  # `.m1` would be every cluster's
        ("west\n", "net\n", "west.m1\n", ["cluster", "network", "trustDomain"]),
        ("west", "net", "*.m1", ["trustDomain"]),
        ("west", "net", "west.m1:443", ["trustDomain"]),
    ],
)
def test_a_token_is_for_names_that_a_cluster_can_have(
    cluster: str, network: str, domain: str, wrong: list[str]
) -> None:
    assert [finding.path for finding in check_grant(cluster, network, domain)] == wrong


def test_a_token_reads_back() -> None:
    assert parse_token(TEXT) == TOKEN
    assert TEXT.startswith(PREFIX)


@settings(deadline=None)
@given(st.lists(st.integers(0, len(TEXT)), max_size=6), st.sampled_from(["\n", " ", "\r\n", "\t", "\u00a0"]))
def test_white_space_of_a_terminal_does_no_harm(places: list[int], blank: str) -> None:
    text = TEXT
    for place in sorted(places, reverse=True):
        text = text[:place] + blank + text[place:]
    assert parse_token(text) == TOKEN


def refused(text: str) -> str:
    with pytest.raises(InvalidInput) as wrong:
        parse_token(text)
    (finding,) = wrong.value.findings
    assert finding.code == "InvalidToken"
    assert finding.fix
    said = str(wrong.value) + repr(wrong.value.findings)
    assert "secret" not in said
    body = text.removeprefix(PREFIX).strip()
    assert len(body) < 12 or body[:12] not in said
    return finding.message


@given(st.integers(1, len(TEXT) - len(PREFIX)))
def test_a_cut_token_is_refused(missing: int) -> None:
    assert refused(TEXT[:-missing]) == "is damaged or cut short"


@settings(max_examples=400, deadline=None)
@given(st.integers(len(PREFIX), len(TEXT) - 2), st.sampled_from("ABCDEFGHabcdefgh0123-_=.!\u00e4"))
def test_one_wrong_character_is_noticed(place: int, character: str) -> None:
    """Also inside a name or a key, where the token would still be read."""
    if TEXT[place] != character:
        assert refused(TEXT[:place] + character + TEXT[place + 1 :]) == "is damaged or cut short"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + "AAAA",
        lambda text: text + text,
        lambda text: PREFIX,
        lambda text: PREFIX + "A",
        lambda text: PREFIX + "!!!!",
        lambda text: PREFIX + text,
    ],
)
def test_a_damaged_token_is_refused(change: Callable[[str], str]) -> None:
    assert refused(change(TEXT)) == "is damaged or cut short"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "x" + TEXT,
        TEXT.removeprefix(PREFIX),
        TEXT.replace("isthmus1.", "isthmus2."),
        TEXT.upper(),
        PREFIX + "A" * MAX_TOKEN_CHARACTERS,
    ],
)
def test_other_text_is_no_token(text: str) -> None:
    assert refused(text) == "is no join token"


def test_keys_of_a_join_lie_below_the_tokens_id() -> None:
    layout = Layout("m1")
    assert token_key(layout, "t") == "/isthmus/m1/join/t/token"
    assert request_key(layout, "t") == "/isthmus/m1/join/t/request"
    assert answer_key(layout, "t") == "/isthmus/m1/join/t/answer"


def test_a_new_record_is_open() -> None:
    assert RECORD.state == OPEN
