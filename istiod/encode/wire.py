"""Small pieces that every encoder uses: durations, Any, addresses, metadata, matchers."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from envoy.config.core.v3.address_pb2 import Address, CidrRange
from envoy.config.core.v3.base_pb2 import Metadata, RuntimeFractionalPercent
from envoy.config.core.v3.config_source_pb2 import ApiConfigSource, ApiVersion, ConfigSource
from envoy.config.core.v3.protocol_pb2 import Http1ProtocolOptions
from envoy.config.route.v3.route_components_pb2 import HeaderMatcher, QueryParameterMatcher
from envoy.extensions.http.header_formatters.preserve_case.v3.preserve_case_pb2 import PreserveCaseFormatterConfig
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from envoy.type.v3.percent_pb2 import FractionalPercent
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from istiod.resolve.specs.match import HeaderMatch, MatchKind, QueryMatch, StringMatch
from istiod.resolve.specs.tls import SecretSource

TYPE_PREFIX = "type.googleapis.com/"
OPTIONAL_SECRET_SECONDS = 5.0


def duration(seconds: float) -> Duration:
    """Seconds as protobuf has them."""
    whole = int(seconds)
    return Duration(seconds=whole, nanos=round((seconds - whole) * 1e9))


def pack(message: Message) -> Any:
    """A message inside an Any, serialized the same way every time."""
    return Any(type_url=TYPE_PREFIX + message.DESCRIPTOR.full_name, value=message.SerializeToString(deterministic=True))


def preserved_case() -> Http1ProtocolOptions.HeaderKeyFormat:
    """HTTP/1 header names as they came."""
    result = Http1ProtocolOptions.HeaderKeyFormat()
    result.stateful_formatter.name = "envoy.http.stateful_header_formatters.preserve_case"
    result.stateful_formatter.typed_config.CopyFrom(pack(PreserveCaseFormatterConfig()))
    return result


def socket_address(address: str, port: int) -> Address:
    """`unix://path`, or an IP or DNS name with a port."""
    result = Address()
    if address.startswith("unix://"):
        result.pipe.path = address.removeprefix("unix://")
    else:
        result.socket_address.address = address
        result.socket_address.port_value = port
    return result


def cidr(text: str) -> CidrRange:
    """`10.0.0.0/8`, or a single address."""
    address, slash, length = text.partition("/")
    result = CidrRange(address_prefix=address)
    result.prefix_len.value = int(length) if slash else 128 if ":" in address else 32
    return result


@lru_cache(maxsize=8)
def ads_source() -> ConfigSource:
    """ "On the stream this came by", waiting as long as it takes."""
    source = ConfigSource(resource_api_version=ApiVersion.V3)
    source.ads.SetInParent()
    source.initial_fetch_timeout.CopyFrom(duration(0))
    return source


@lru_cache(maxsize=8)
def secret_source(source: SecretSource, optional: bool) -> ConfigSource:
    """Where a secret is asked for, and for how long its user waits: as long as it takes, or a moment."""
    result = ConfigSource(resource_api_version=ApiVersion.V3)
    result.initial_fetch_timeout.CopyFrom(duration(OPTIONAL_SECRET_SECONDS if optional else 0))
    if source is SecretSource.ADS:
        result.ads.SetInParent()
        return result
    api = result.api_config_source
    api.api_type = ApiConfigSource.ApiType.GRPC
    api.transport_api_version = ApiVersion.V3
    api.set_node_on_first_message_only = True
    api.grpc_services.add().envoy_grpc.cluster_name = source.value
    return result


def string_matcher(match: StringMatch) -> StringMatcher:
    """A text comparison."""
    result = StringMatcher(ignore_case=match.ignore_case)
    match match.kind:
        case MatchKind.EXACT:
            result.exact = match.value
        case MatchKind.PREFIX:
            result.prefix = match.value
        case MatchKind.SUFFIX:
            result.suffix = match.value
        case MatchKind.CONTAINS:
            result.contains = match.value
        case MatchKind.REGEX:
            result.safe_regex.regex = match.value
        case MatchKind.PRESENT:
            result.safe_regex.regex = ".*"
    return result


def header_matcher(match: HeaderMatch) -> HeaderMatcher:
    """A condition on a header."""
    result = HeaderMatcher(
        name=match.name, invert_match=match.invert, treat_missing_header_as_empty=match.missing_is_empty
    )
    if match.match.kind is MatchKind.PRESENT:
        result.present_match = True
    else:
        result.string_match.CopyFrom(string_matcher(match.match))
    return result


def query_matcher(match: QueryMatch) -> QueryParameterMatcher:
    """A condition on a query parameter."""
    result = QueryParameterMatcher(name=match.name)
    if match.match.kind is MatchKind.PRESENT:
        result.present_match = True
    else:
        result.string_match.CopyFrom(string_matcher(match.match))
    return result


def percent(value: float) -> FractionalPercent:
    """Percent with four decimals."""
    return FractionalPercent(numerator=round(value * 10_000), denominator=FractionalPercent.MILLION)


def runtime_percent(value: float) -> RuntimeFractionalPercent:
    """The same where Envoy would let runtime override it."""
    return RuntimeFractionalPercent(default_value=percent(value))


def istio_metadata(
    config: str = "", subset: str = "", services: Iterable[tuple[str, str, str]] = (), external: bool = False
) -> Metadata | None:
    """Istio's filter metadata: the object behind a resource, the subset, services as (host, name, namespace), and
    whether they are outside the mesh.
    """
    result = Metadata()
    fields = result.filter_metadata["istio"].fields
    if config:
        fields["config"].string_value = config
    if subset:
        fields["subset"].string_value = subset
    for host, name, namespace in services:
        entry = fields["services"].list_value.values.add().struct_value.fields
        entry["host"].string_value = host
        entry["name"].string_value = name
        entry["namespace"].string_value = namespace
    if external:
        fields["external"].bool_value = True
    return result if fields else None
