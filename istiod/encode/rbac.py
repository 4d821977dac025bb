"""Rules -> Envoy's RBAC, for HTTP and for bytes. A condition becomes a permission or a principal by where it stands."""

from __future__ import annotations

from collections.abc import Iterator

from envoy.config.rbac.v3.rbac_pb2 import RBAC, MetadataSource, Permission, Policy, Principal, SourcedMetadata
from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBAC as HttpRbac
from envoy.extensions.filters.network.rbac.v3.rbac_pb2 import RBAC as NetworkRbac
from envoy.extensions.path.match.uri_template.v3.uri_template_match_pb2 import UriTemplateMatchConfig
from envoy.type.matcher.v3.metadata_pb2 import MetadataMatcher
from envoy.type.matcher.v3.value_pb2 import ValueMatcher

from istiod.encode.cache import encoded
from istiod.encode.wire import cidr, header_matcher, pack, string_matcher
from istiod.resolve.specs.authz import (
    AllOf,
    AnyOf,
    ClientAddress,
    Condition,
    DestinationAddress,
    DestinationPort,
    Header,
    Metadata,
    Not,
    Path,
    PathTemplate,
    PeerAddress,
    PeerName,
    RbacSpec,
    RuleSet,
    ServerName,
    ValueForm,
)

HTTP_FILTER = "envoy.filters.http.rbac"
NETWORK_FILTER = "envoy.filters.network.rbac"
TEMPLATE = "envoy.path.match.uri_template.uri_template_matcher"
TCP_STATS = "tcp."


@encoded(1_000)
def http_rbac(spec: RbacSpec) -> HttpRbac:
    """The filter's configuration for requests."""
    result = HttpRbac(shadow_rules_stat_prefix=spec.shadow_prefix)
    if spec.rules is not None:
        result.rules.CopyFrom(_rules(spec.rules))
    if spec.shadow is not None:
        result.shadow_rules.CopyFrom(_rules(spec.shadow))
    return result


@encoded(1_000)
def network_rbac(spec: RbacSpec) -> NetworkRbac:
    """The filter's configuration for connections."""
    result = NetworkRbac(stat_prefix=TCP_STATS, shadow_rules_stat_prefix=spec.shadow_prefix)
    if spec.rules is not None:
        result.rules.CopyFrom(_rules(spec.rules))
    if spec.shadow is not None:
        result.shadow_rules.CopyFrom(_rules(spec.shadow))
    return result


def _rules(spec: RuleSet) -> RBAC:
    result = RBAC(action=RBAC.Action.Value(spec.verdict.value))
    for rule in spec.rules:
        policy = Policy(
            permissions=[_permission(part) for part in _alternatives(rule.operation)],
            principals=[_principal(part) for part in _alternatives(rule.caller)],
        )
        result.policies[rule.name].CopyFrom(policy)
    return result


def _alternatives(condition: Condition) -> Iterator[Condition]:
    """Envoy takes a list of which one has to hold; it may not be empty."""
    yield from condition.parts if isinstance(condition, AnyOf) and condition.parts else (condition,)


def _permission(condition: Condition) -> Permission:
    match condition:
        case AllOf(parts) if parts:
            return Permission(and_rules=Permission.Set(rules=map(_permission, parts)))
        case AllOf():
            return Permission(any=True)
        case AnyOf(parts) if parts:
            return Permission(or_rules=Permission.Set(rules=map(_permission, parts)))
        case AnyOf():
            return Permission(not_rule=Permission(any=True))
        case Not(part):
            return Permission(not_rule=_permission(part))
        case DestinationAddress(text):
            return Permission(destination_ip=cidr(text))
        case DestinationPort(port):
            return Permission(destination_port=port)
        case ServerName(match):
            return Permission(requested_server_name=string_matcher(match))
        case Header(header):
            return Permission(header=header_matcher(header))
        case Path(match):
            result = Permission()
            result.url_path.path.CopyFrom(string_matcher(match))
            return result
        case PathTemplate(template):
            result = Permission()
            result.uri_template.name = TEMPLATE
            result.uri_template.typed_config.CopyFrom(pack(UriTemplateMatchConfig(path_template=template)))
            return result
        case Metadata():
            return Permission(sourced_metadata=_metadata(condition))
    raise TypeError(f"{condition} says nothing of what is called")


def _principal(condition: Condition) -> Principal:
    match condition:
        case AllOf(parts) if parts:
            return Principal(and_ids=Principal.Set(ids=map(_principal, parts)))
        case AllOf():
            return Principal(any=True)
        case AnyOf(parts) if parts:
            return Principal(or_ids=Principal.Set(ids=map(_principal, parts)))
        case AnyOf():
            return Principal(not_id=Principal(any=True))
        case Not(part):
            return Principal(not_id=_principal(part))
        case PeerName(match):
            return Principal(authenticated=Principal.Authenticated(principal_name=string_matcher(match)))
        case PeerAddress(text):
            return Principal(direct_remote_ip=cidr(text))
        case ClientAddress(text):
            return Principal(remote_ip=cidr(text))
        case Header(header):
            return Principal(header=header_matcher(header))
        case Metadata():
            return Principal(sourced_metadata=_metadata(condition))
    raise TypeError(f"{condition} says nothing of who calls")


def _metadata(spec: Metadata) -> SourcedMetadata:
    text = ValueMatcher(string_match=string_matcher(spec.match))
    item = ValueMatcher()
    item.list_match.one_of.CopyFrom(text)
    match spec.form:
        case ValueForm.TEXT:
            value = text
        case ValueForm.LIST:
            value = item
        case ValueForm.EITHER:
            value = ValueMatcher()
            value.or_match.value_matchers.extend((text, item))
    path = [MetadataMatcher.PathSegment(key=key) for key in spec.path]
    matcher = MetadataMatcher(filter=spec.filter, path=path, value=value)
    return SourcedMetadata(metadata_matcher=matcher, metadata_source=MetadataSource.DYNAMIC)
