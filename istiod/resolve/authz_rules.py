"""One AuthorizationPolicy -> its rules as conditions, once for HTTP and once for bytes. Pure.

Knows nothing of which policies hold where. Rules: Istio's AuthorizationPolicy reference (`Rule`, string forms), and
what Istio makes of fields that only HTTP has where there is none: under ALLOW the rule is left out, otherwise the
condition is, so that less is let in either way. Token claims are where `istiod.encode.jwt` has them left.

Identities are compared without regular expressions: an Envoy takes none of more than a hundred steps unless it was
started with a higher limit, and names are long.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_network

from istiod.api.authorization_attributes import Attribute, AttributeKey, parse_key
from istiod.api.authorization_values import ANY, ONE, is_template
from istiod.api.authorizationpolicy import Action, AuthorizationPolicy, Condition, Operation, Rule, Source
from istiod.api.meta import Object
from istiod.resolve.specs import authz
from istiod.resolve.specs.authz import (
    AllOf,
    AnyOf,
    ClientAddress,
    DestinationAddress,
    DestinationPort,
    Header,
    Metadata,
    Not,
    Path,
    PathTemplate,
    PeerAddress,
    PeerName,
    RuleSpec,
    ServerName,
    ValueForm,
)
from istiod.resolve.specs.match import HeaderMatch, MatchKind, StringMatch
from istiod.resolve.trust import TrustDomains

TOKENS = "envoy.filters.http.jwt_authn"
PAYLOAD = "payload"
SPIFFE = "spiffe://"
SOMETHING = StringMatch(MatchKind.REGEX, ".+")

Values = tuple[str, ...]
Make = Callable[[str], authz.Condition]


@dataclass(frozen=True, slots=True)
class PolicyRules:
    """A policy's rules for HTTP and for bytes; those for bytes may be fewer, or wider."""

    http: tuple[RuleSpec, ...]
    tcp: tuple[RuleSpec, ...]


@dataclass(frozen=True, slots=True)
class _Clause:
    """One field of a source or operation, or one condition; all clauses of a list must hold."""

    condition: authz.Condition
    http_only: bool = False


def policy_rules(policy: Object[AuthorizationPolicy], domains: TrustDomains, prefix: str = "") -> PolicyRules:
    """The rules of a valid policy, named `<prefix>ns[…]-policy[…]-rule[…]`; one that never holds if it has none."""
    name = f"{prefix}ns[{policy.meta.namespace}]-policy[{policy.meta.name}]-rule"
    if not policy.spec.rules:
        never = (RuleSpec(f"{name}[0]", authz.NEVER, authz.NEVER),)
        return PolicyRules(never, never)
    http, tcp = [], []
    for index, rule in enumerate(policy.spec.rules):
        operations, callers = _clauses(rule, policy.meta.namespace, domains)
        http.append(RuleSpec(f"{name}[{index}]", _either(operations), _either(callers)))
        lists = (*operations, *callers)
        if policy.spec.action is Action.ALLOW and any(clause.http_only for clauses in lists for clause in clauses):
            continue
        tcp.append(RuleSpec(f"{name}[{index}]", _either(_for_bytes(operations)), _either(_for_bytes(callers))))
    return PolicyRules(tuple(http), tuple(tcp))


Clauses = list[_Clause]


def _clauses(rule: Rule, namespace: str, domains: TrustDomains) -> tuple[list[Clauses], list[Clauses]]:
    """The alternatives of a rule: what is called, and who calls. Conditions belong to every alternative."""
    called: Clauses = []
    calling: Clauses = []
    for condition in rule.when:
        tested = parse_key(condition.key)
        assert tested is not None  # validated
        side = called if tested.attribute in _OF_OPERATIONS else calling
        side += _condition(tested, condition, namespace, domains)
    operations = [[*_operation(item.operation), *called] for item in rule.to or ()]
    callers = [[*_source(item.source, namespace, domains), *calling] for item in rule.from_ or ()]
    return operations or [called], callers or [calling]


def _for_bytes(alternatives: Iterable[Clauses]) -> list[Clauses]:
    return [[clause for clause in clauses if not clause.http_only] for clauses in alternatives]


def _either(alternatives: Iterable[Clauses]) -> authz.Condition:
    return any_of(all_of(clause.condition for clause in clauses) for clauses in alternatives)


def all_of(conditions: Iterable[authz.Condition]) -> authz.Condition:
    """Every one of them; one alone is itself."""
    parts = tuple(conditions)
    return parts[0] if len(parts) == 1 else AllOf(parts)


def any_of(conditions: Iterable[authz.Condition]) -> authz.Condition:
    """One of them; one alone is itself, and one that always holds is enough."""
    parts = tuple(dict.fromkeys(conditions))
    if authz.ALWAYS in parts:
        return authz.ALWAYS
    return parts[0] if len(parts) == 1 else AnyOf(parts)


def _field(values: Values, not_values: Values, make: Make, http_only: bool = False) -> Iterator[_Clause]:
    """One of the values holds, and none of the others does."""
    if values:
        yield _Clause(any_of(map(make, values)), http_only)
    if not_values:
        yield _Clause(Not(any_of(map(make, not_values))), http_only)


def _operation(said: Operation) -> Iterator[_Clause]:
    yield from _field(said.hosts, said.not_hosts, _host, http_only=True)
    yield from _field(said.methods, said.not_methods, lambda text: _header(":method", text), http_only=True)
    yield from _field(said.paths, said.not_paths, _path, http_only=True)
    yield from _field(said.ports, said.not_ports, _port)


def _source(said: Source, namespace: str, domains: TrustDomains) -> Iterator[_Clause]:
    principals = (domains.expand_principals(said.principals), domains.expand_principals(said.not_principals))
    yield from _field(*principals, _principal)
    yield from _field(said.request_principals, said.not_request_principals, _request_principal, http_only=True)
    yield from _field(said.service_accounts, said.not_service_accounts, _account_of(namespace))
    yield from _field(said.namespaces, said.not_namespaces, _namespace)
    yield from _field(said.trust_domains, said.not_trust_domains, _trust_domain_in(domains))
    yield from _field(said.remote_ip_blocks, said.not_remote_ip_blocks, _client_address)
    yield from _field(said.ip_blocks, said.not_ip_blocks, _peer_address)


_OF_OPERATIONS = (Attribute.DESTINATION_IP, Attribute.DESTINATION_PORT, Attribute.SNI, Attribute.FILTER)


def _condition(tested: AttributeKey, said: Condition, namespace: str, domains: TrustDomains) -> Iterator[_Clause]:
    values, not_values = said.values, said.not_values
    if tested.attribute is Attribute.PRINCIPAL:
        values, not_values = domains.expand_principals(values), domains.expand_principals(not_values)
    make, http_only = _maker(tested, namespace, domains)
    yield from _field(values, not_values, make, http_only)


def _maker(tested: AttributeKey, namespace: str, domains: TrustDomains) -> tuple[Make, bool]:
    """How a value of an attribute is tested, and whether only HTTP has it."""
    name = tested.names[0] if tested.names else ""
    match tested.attribute:
        case Attribute.SOURCE_IP:
            return _peer_address, False
        case Attribute.REMOTE_IP:
            return _client_address, False
        case Attribute.NAMESPACE:
            return _namespace, False
        case Attribute.SERVICE_ACCOUNT:
            return _account_of(namespace), False
        case Attribute.PRINCIPAL:
            return _principal, False
        case Attribute.TRUST_DOMAIN:
            return _trust_domain_in(domains), False
        case Attribute.DESTINATION_IP:
            return (lambda text: DestinationAddress(_cidr(text))), False
        case Attribute.DESTINATION_PORT:
            return _port, False
        case Attribute.SNI:
            return (lambda text: ServerName(text_match(text))), False
        case Attribute.FILTER:
            return (lambda text: _filter_value(tested.names[0], tested.names[1], text)), False
        case Attribute.REQUEST_PRINCIPAL:
            return _request_principal, True
        case Attribute.AUDIENCES:
            return (lambda text: _claim(("aud",), text)), True
        case Attribute.PRESENTER:
            return (lambda text: _claim(("azp",), text)), True
        case Attribute.CLAIM:
            return (lambda text: _claim(tested.names, text)), True
        case Attribute.HEADER:
            return (lambda text: _header(name, text)), True
        case Attribute.INLINE_HEADER:
            return (lambda text: _inline_header(name, text)), True


def text_match(text: str, ignore_case: bool = False) -> StringMatch:
    """Istio's string forms: `*` for something, `*x` and `x*` for an end, else the whole."""
    if text == "*":
        return SOMETHING
    if text.startswith("*"):
        return StringMatch(MatchKind.SUFFIX, text[1:], ignore_case)
    if text.endswith("*"):
        return StringMatch(MatchKind.PREFIX, text[:-1], ignore_case)
    return StringMatch(MatchKind.EXACT, text, ignore_case)


def _header(name: str, text: str, ignore_case: bool = False) -> Header:
    match = StringMatch(MatchKind.PRESENT) if text == "*" else text_match(text, ignore_case=ignore_case)
    return Header(HeaderMatch(name, match))


def _host(text: str) -> Header:
    return _header(":authority", text, ignore_case=True)


def _inline_header(name: str, text: str) -> authz.Condition:
    """One item of a header that is a list with commas."""
    if text == "*":
        return _header(name, text)
    forms: tuple[tuple[MatchKind, str], ...]
    if text.startswith("*"):
        forms = ((MatchKind.SUFFIX, text[1:]), (MatchKind.CONTAINS, f"{text[1:]},"))
    elif text.endswith("*"):
        forms = ((MatchKind.PREFIX, text[:-1]), (MatchKind.CONTAINS, f",{text[:-1]}"))
    else:
        ends = ((MatchKind.PREFIX, f"{text},"), (MatchKind.SUFFIX, f",{text}"))
        forms = ((MatchKind.EXACT, text), *ends, (MatchKind.CONTAINS, f",{text},"))
    return AnyOf(tuple(Header(HeaderMatch(name, StringMatch(kind, value))) for kind, value in forms))


def _path(text: str) -> authz.Condition:
    if is_template(text):
        return PathTemplate(text.replace(ONE, "*").replace(ANY, "**"))
    return Path(text_match(text))


def _port(text: str) -> DestinationPort:
    return DestinationPort(int(text))


def _cidr(text: str) -> str:
    return str(ip_network(text, strict=False))


def _peer_address(text: str) -> PeerAddress:
    return PeerAddress(_cidr(text))


def _client_address(text: str) -> ClientAddress:
    return ClientAddress(_cidr(text))


def _principal(text: str) -> authz.Condition:
    if text == "*":
        return PeerName(SOMETHING)
    if text.startswith("*"):
        return AllOf((_peer(MatchKind.PREFIX, SPIFFE), _peer(MatchKind.SUFFIX, text[1:])))
    return PeerName(text_match(SPIFFE + text))


def _peer(kind: MatchKind, value: str) -> PeerName:
    return PeerName(StringMatch(kind, value))


def _namespace(text: str) -> authz.Condition:
    """The part of an identity between `/ns/` and `/sa/`."""
    start, star, end = text.partition("*")
    if not star:
        return _peer(MatchKind.CONTAINS, f"/ns/{text}/")
    if not end:
        return _peer(MatchKind.CONTAINS, f"/ns/{start}")
    if not start and "*" not in end:
        return _peer(MatchKind.CONTAINS, f"{end}/sa/")
    pattern = ".*".join(re.escape(part) for part in text.split("*"))
    return _peer(MatchKind.REGEX, f".*/ns/{pattern}/.*")


def _account_of(own: str) -> Make:
    """`namespace/account`; without a namespace, the policy's own."""

    def make(text: str) -> PeerName:
        namespace, _, account = text.rpartition("/")
        return _peer(MatchKind.SUFFIX, f"/ns/{namespace or own}/sa/{account}")

    return make


def _trust_domain_in(domains: TrustDomains) -> Make:
    def make(text: str) -> authz.Condition:
        return any_of(_in_domain(domain) for domain in domains.meant_by(text))

    return make


def _in_domain(domain: str) -> authz.Condition:
    if domain.startswith("*"):
        spiffe = _peer(MatchKind.PREFIX, SPIFFE)
        return AllOf((spiffe, _peer(MatchKind.CONTAINS, f"{domain[1:]}/ns/"))) if domain != "*" else spiffe
    if domain.endswith("*"):
        return _peer(MatchKind.PREFIX, SPIFFE + domain[:-1])
    return _peer(MatchKind.PREFIX, f"{SPIFFE}{domain}/")


def _request_principal(text: str) -> authz.Condition:
    """`issuer/subject` of a token, where the issuer may have slashes; a `*` at one end is for that part alone."""
    issuer, slash, subject = text.rpartition("/")
    if text == "*":
        issuer_match, subject_match = SOMETHING, SOMETHING
    elif text.startswith("*"):
        issuer_match = text_match(issuer) if slash else SOMETHING
        subject_match = StringMatch(MatchKind.EXACT, subject) if slash else text_match(text)
    elif text.endswith("*"):
        issuer_match = StringMatch(MatchKind.EXACT, issuer) if slash else text_match(text)
        subject_match = text_match(subject) if slash else SOMETHING
    else:
        issuer_match = StringMatch(MatchKind.EXACT, issuer if slash else text)
        subject_match = StringMatch(MatchKind.EXACT, subject if slash else "")
    return AllOf((Metadata(TOKENS, (PAYLOAD, "iss"), issuer_match), Metadata(TOKENS, (PAYLOAD, "sub"), subject_match)))


def _claim(names: tuple[str, ...], text: str) -> Metadata:
    return Metadata(TOKENS, (PAYLOAD, *names), text_match(text), ValueForm.EITHER)


def _filter_value(filter_name: str, key: str, text: str) -> Metadata:
    """A value that some filter left; `[x]` is an item of a list."""
    if text.startswith("[") and text.endswith("]"):
        return Metadata(filter_name, (key,), text_match(text.strip("[]")), ValueForm.LIST)
    return Metadata(filter_name, (key,), text_match(text))
