"""Every code that a finding about an object can have: what it means, how bad it is, what to do, what Istio calls it.

`isthmus analyze --list-codes` and docs/analysis.md are made of it. Codes are stable words: people suppress findings by
them. The analyzers of this package make their findings through a `Code`; what the parser, the registry and the
resolvers say is in `istiod.analyze.codes_of_parts`. Istio's codes are those of its analysis messages.
"""

from __future__ import annotations

from dataclasses import dataclass

from federation.model.findings import Finding, Severity

E, W, I = Severity.ERROR, Severity.WARNING, Severity.INFO  # noqa: E741


@dataclass(frozen=True, slots=True)
class Code:
    """A kind of finding. `action` is the fix where a finding has none of its own; `istio` is Istio's code or ""."""

    word: str
    severity: Severity
    meaning: str
    action: str
    istio: str = ""

    def at(self, item: object, path: str, message: str, fix: str = "") -> Finding:
        """The finding about an object (`Kind namespace/name`) and a field of it."""
        return Finding(self.severity, self.word, str(item), path, message, fix or self.action)


# Routes
HOST_NOT_FOUND = Code(
    "HostNotFound", E, "A route leads to a host that no service has.",
    "correct the host, or declare it in a ServiceEntry", "IST0101",
)  # fmt: skip
HOST_NOT_VISIBLE = Code(
    "HostNotVisible", E, "A route leads to a service that exportTo hides from the route's namespace.",
    "export the service to the namespace", "IST0101",
)  # fmt: skip
SUBSET_NOT_FOUND = Code(
    "SubsetNotFound", E, "A route leads to a subset that the DestinationRule in force does not have.",
    "add the subset to the DestinationRule, or correct its name", "IST0101",
)  # fmt: skip
PORT_NOT_FOUND = Code(
    "PortNotFound", E, "A route leads to a port that the service does not have.",
    "use a port of the service", "IST0101",
)  # fmt: skip
PORT_REQUIRED = Code(
    "PortRequired", W, "A route at a gateway leads to a service with several ports and names none.",
    "give destination.port.number", "IST0112",
)  # fmt: skip
GATEWAY_NOT_FOUND = Code(
    "GatewayNotFound", E, "A VirtualService is bound to a Gateway that does not exist.",
    "correct the reference (namespace/name), or create the Gateway", "IST0101",
)  # fmt: skip
DELEGATE_NOT_FOUND = Code(
    "DelegateNotFound", E, "A route delegates to a VirtualService that is not there, or that has hosts.",
    "name a VirtualService without hosts", "IST0101",
)  # fmt: skip
HOST_NOT_IN_GATEWAY = Code(
    "HostNotInGateway", W, "A Gateway serves none of the hosts of a VirtualService that is bound to it.",
    "add the host to a server of the Gateway, or correct it", "IST0132",
)  # fmt: skip
HOST_MATCHES_NOTHING = Code(
    "HostMatchesNothing", W, "No service has the host of a VirtualService for sidecars.",
    "correct the host, or declare it in a ServiceEntry",
)  # fmt: skip
VIRTUAL_SERVICE_CONFLICT = Code(
    "VirtualServiceConflict", E, "Two VirtualServices for sidecars have the same host; only the older one counts.",
    "merge them into one", "IST0109",
)  # fmt: skip
DUPLICATE_ROUTE_NAME = Code(
    "DuplicateRouteName", I, "Two routes of a VirtualService have the same name, so logs cannot tell them apart.",
    "give each route a name of its own",
)  # fmt: skip
ROUTE_WITHOUT_HTTP = Code(
    "RouteWithoutHttp", W, "HTTP routes for a service of which no port speaks HTTP: they never take part.",
    "name the port http-… (or set appProtocol), or write tcp routes",
)  # fmt: skip
ROUTE_NOT_FOR_SERVER = Code(
    "RouteNotForServer", W, "Routes are bound to a Gateway whose servers cannot follow them (http behind PASSTHROUGH).",
    "write tls routes, or let TLS end at the Gateway",
)  # fmt: skip
CLAIM_WITHOUT_AUTHENTICATION = Code(
    "ClaimWithoutAuthentication", E, "Routes match claims of tokens, and no RequestAuthentication reads tokens there.",
    "write a RequestAuthentication for the gateway's workloads", "IST0149",
)  # fmt: skip
SUBSET_NOT_AT_GATEWAY = Code(
    "SubsetNotAtGateway", W, "Requests of a gateway go past the subsets that a VirtualService for sidecars chooses.",
    "route to the subsets in the gateway's VirtualService too", "IST0140",
)  # fmt: skip

# Traffic policy
RULE_MATCHES_NOTHING = Code(
    "RuleMatchesNothing", W, "No service has the host of a DestinationRule.",
    "correct the host, or declare it in a ServiceEntry", "IST0174",
)  # fmt: skip
SUBSET_WITHOUT_PODS = Code(
    "SubsetWithoutPods", W, "No workload of the service carries the labels of a subset: requests to it get 503.",
    "correct the labels, or start such workloads", "IST0173",
)  # fmt: skip
RULE_CONFLICT = Code(
    "RuleConflict", W, "Two DestinationRules of a namespace are for one host; of the younger one some parts are lost.",
    "merge them into one",
)  # fmt: skip
MTLS_CONFLICT = Code(
    "MtlsConflict", E, "A DestinationRule says the opposite of what PeerAuthentication wants of the servers.",
    "remove tls from the DestinationRule (mutual TLS is automatic), or change the PeerAuthentication", "IST0113",
)  # fmt: skip
SERVER_NOT_VERIFIED = Code(
    "ServerNotVerified", W, "TLS to a server whose certificate is compared with no name and no CA of yours.",
    "give caCertificates or credentialName, and subjectAltNames", "IST0128, IST0129",
)  # fmt: skip
POLICY_FOR_NO_PORT = Code(
    "PolicyForNoPort", W, "Settings for a port that the service or workload does not have.",
    "use a port of it",
)  # fmt: skip

# Gateways
SELECTOR_MATCHES_NOTHING = Code(
    "SelectorMatchesNothing", W, "No workload carries the labels that an object selects.",
    "correct the labels, or start such workloads", "IST0101, IST0127",
)  # fmt: skip
GATEWAY_PORT_NOT_IN_SERVICE = Code(
    "GatewayPortNotInService", W, "A Gateway opens a port that no Service leads to.",
    "add the port to the gateway's Service", "IST0162",
)  # fmt: skip
GATEWAY_CONFLICT = Code(
    "GatewayConflict", E, "Two Gateways serve the same host on the same port of the same workloads.",
    "merge them, or give them different hosts", "IST0145",
)  # fmt: skip
DUPLICATE_CERTIFICATE = Code(
    "DuplicateCertificate", W, "Several Gateways on one port use one certificate: reused HTTP/2 connections get 404.",
    "put the hosts into one Gateway, or use several certificates", "IST0138",
)  # fmt: skip

# Services
PORT_NAME_UNKNOWN = Code(
    "PortNameUnknown", I, "A port's name says no protocol, so it is detected per connection.",
    "name it <protocol>[-<suffix>], or set appProtocol", "IST0118",
)  # fmt: skip
PROTOCOL_CONFLICT = Code(
    "ProtocolConflict", W, "Services of one workload give different protocols to one port of it.",
    "give the port one protocol in all of them", "IST0116",
)  # fmt: skip
TARGET_PORT_CONFLICT = Code(
    "TargetPortConflict", W, "Services of one workload lead from different ports to one port of it.",
    "use one port number in all of them", "IST0137",
)  # fmt: skip
EXTERNAL_NAME_PORT = Code(
    "ExternalNamePort", W, "A port of an ExternalName service has no name that says a protocol, or a TCP one.",
    "name it http-… or tls-…", "IST0150",
)  # fmt: skip
TARGET_PORT_NOT_FOUND = Code(
    "TargetPortNotFound", W, "A Service leads to a named port that no container of its pods has.",
    "use the name of a container's port, or its number",
)  # fmt: skip
ADDRESS_REQUIRED = Code(
    "AddressRequired", W, "A ServiceEntry with a TCP port has no address: it takes the port's traffic to any address.",
    "give addresses", "IST0134",
)  # fmt: skip
HOST_IN_SEVERAL_NAMESPACES = Code(
    "HostInSeveralNamespaces", W, "One host is declared in several namespaces that the same clients see.",
    "declare it once, or limit exportTo", "IST0177",
)  # fmt: skip

# Sidecars
SIDECAR_CONFLICT = Code(
    "SidecarConflict", E, "Two Sidecars select the same workload; only the older one counts.",
    "merge them, or select different workloads", "IST0110",
)  # fmt: skip
SEVERAL_DEFAULT_SIDECARS = Code(
    "SeveralDefaultSidecars", E, "Several Sidecars of a namespace have no selector; only the oldest counts.",
    "keep one of them", "IST0111",
)  # fmt: skip
EGRESS_MATCHES_NOTHING = Code(
    "EgressMatchesNothing", W, "A Sidecar imports a host that no service has.",
    "correct namespace/host, or remove it",
)  # fmt: skip
SELECTOR_IN_ROOT_NAMESPACE = Code(
    "SelectorInRootNamespace", W, "A policy of the root namespace has a selector, so it is not for the mesh.",
    "remove the selector, or move the policy to the namespace of its workloads",
)  # fmt: skip

# Security and telemetry
POLICY_CONFLICT = Code(
    "PolicyConflict", W, "Two policies of a kind are for the same workloads; only the older one counts.",
    "keep one of them", "IST0159, IST0160",
)  # fmt: skip
NAMESPACE_NOT_FOUND = Code(
    "NamespaceNotFound", W, "An object names a namespace that does not exist.",
    "correct the name, or create the namespace", "IST0101",
)  # fmt: skip
PRINCIPAL_NOT_FOUND = Code(
    "PrincipalNotFound", W, "An AuthorizationPolicy names an identity that no workload has.",
    "write <trust domain>/ns/<namespace>/sa/<service account>",
)  # fmt: skip
HTTP_RULE_ON_TCP = Code(
    "HttpRuleOnTcp", W, "An AuthorizationPolicy tests requests on a port where bytes are passed on.",
    "declare the port as HTTP, or test only sources, ports and SNI",
)  # fmt: skip
TOKEN_NOT_REQUIRED = Code(
    "TokenNotRequired", W, "Tokens are checked where there are any, and requests without one pass.",
    "write an AuthorizationPolicy that wants requestPrincipals: ['*']",
)  # fmt: skip
TOKEN_ON_TCP = Code(
    "TokenOnTcp", W, "Tokens are to be checked on a port where bytes are passed on.",
    "declare the port as HTTP", "IST0119",
)  # fmt: skip
KEYS_NOT_PROTECTED = Code(
    "KeysNotProtected", W, "Keys of tokens are fetched without TLS: whoever is on the way can exchange them.",
    "use https in jwksUri",
)  # fmt: skip
PROVIDER_NOT_FOUND = Code(
    "ProviderNotFound", W, "An object names an extension provider that MeshConfig does not have.",
    "add it to extensionProviders of MeshConfig, or correct its name",
)  # fmt: skip
NO_PROVIDER = Code(
    "NoProvider", W, "A Telemetry names no provider, and MeshConfig has no default: it does nothing.",
    "name a provider", "IST0157",
)  # fmt: skip
PATCH_IS_RELATIVE = Code(
    "PatchIsRelative", W, "An EnvoyFilter without priority patches relative to what others may have patched.",
    "set priority, or use INSERT_FIRST or ADD", "IST0151, IST0155",
)  # fmt: skip

# Any object
UNKNOWN_ANNOTATION = Code(
    "UnknownAnnotation", W, "An annotation looks like one of Istio's, and is none.",
    "correct its name, or remove it", "IST0108",
)  # fmt: skip
MISPLACED_ANNOTATION = Code(
    "MisplacedAnnotation", W, "An annotation of Istio's stands on a kind of object that it is not for.",
    "move it to an object of the right kind", "IST0107",
)  # fmt: skip
DEPRECATED_ANNOTATION = Code(
    "DeprecatedAnnotation", I, "An annotation that Istio gives up.",
    "use what took its place", "IST0135",
)  # fmt: skip
INJECTION_LABELS_CONFLICT = Code(
    "InjectionLabelsConflict", W, "A namespace asks for sidecars in two ways, or for sidecars and ambient mode.",
    "keep one of istio-injection, istio.io/rev and istio.io/dataplane-mode", "IST0123",
)  # fmt: skip

# Several clusters
SERVICE_DIFFERS = Code(
    "ServiceDiffers", W, "A service has different ports in different clusters.",
    "declare the same ports everywhere", "IST0170",
)  # fmt: skip
NETWORK_WITHOUT_GATEWAY = Code(
    "NetworkWithoutGateway", W, "Workloads are in another network, and no gateway leads there.",
    "start an east-west gateway there, or correct the network's label",
)  # fmt: skip
EXPORT_WITHOUT_MTLS = Code(
    "ExportWithoutMtls", W, "Workloads of an exported service take no mutual TLS, so other networks cannot reach them.",
    "give them a sidecar, and PeerAuthentication other than DISABLE",
)  # fmt: skip
REGISTRY_NOT_FOUND = Code(
    "RegistryNotFound", E, "MeshNetworks names a cluster that is not in the mesh.",
    "use the name of a cluster in fromRegistry", "IST0126",
)  # fmt: skip

OF_ANALYZERS: tuple[Code, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Code))
