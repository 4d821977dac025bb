"""The codes of findings that are made elsewhere: by the parser and its rules for each kind, the sources, the registry,
the resolvers and the encoder; and `CODES`, the list of all codes.

Who adds a code there adds it here: a test compares.
"""

from __future__ import annotations

from istiod.analyze.codes import OF_ANALYZERS, Code, E, I, W

OF_PARTS: tuple[Code, ...] = (
    # Text and objects
    Code("FileUnreadable", E, "A file cannot be read as text.", "make it a readable UTF-8 file"),
    Code("DirectoryMissing", E, "The directory of objects does not exist.", "create it"),
    Code("NotYaml", E, "A document is no YAML, or too large.", "correct the file", "IST0106"),
    Code("NotAnObject", E, "A document is no object.", "give apiVersion, kind and metadata", "IST0106"),
    Code("InvalidMetadata", E, "A name, label or annotation that Kubernetes does not take.", "correct it", "IST0106"),
    Code("UnknownVersion", E, "An apiVersion that the kind does not have.", "use v1", "IST0106"),
    Code("UnknownField", E, "A field that the kind does not have.", "correct or remove it", "IST0106"),
    Code("MissingField", E, "A field that must be given.", "give it a value", "IST0106"),
    Code(
        "InvalidValue", E, "A value that is wrong, or (as a warning) hardly meant.", "correct the value",
        "IST0106, IST0122, IST0133",
    ),
    Code("DuplicateObject", E, "An object is given twice; the first counts.", "keep one of them"),
    Code("DuplicatePort", E, "A port is given twice.", "use each port once", "IST0106"),
    Code("UnknownType", E, "A patch of an EnvoyFilter with a message that Envoy does not have.", "correct its @type"),
    Code("DeprecatedField", W, "A field that Istio gave up.", "use what took its place", "IST0002"),
    Code("KindNotSupported", W, "An object of a kind that is not followed.", "do not rely on it"),
    Code("FieldNotSupported", W, "A field that has no effect.", "do not rely on it"),
    Code("FieldIgnored", W, "A field that another one overrides.", "keep one of them"),
    Code("SettingIgnored", W, "A setting of MeshConfig that has no effect.", "do not rely on it"),
    Code("ProviderOfAnotherKind", W, "A provider is named for what it cannot do.", "name another provider"),
    Code("ProviderNotReachable", W, "The service of a provider is not there; the provider is not used.", "declare it"),
    Code("InvalidAnnotation", W, "An annotation of Istio's with a wrong value.", "correct the value", "IST0125"),
    # Routes
    Code(
        "UnreachableRoute", W, "A route behind others that take all its requests.", "move it up, or remove it",
        "IST0130",
    ),
    Code("IneffectiveMatch", I, "A match behind another one that takes all its requests.", "remove it", "IST0131"),
    Code("ListenerConflict", W, "Two services want one port and address with protocols that cannot share it.",
         "give one of them another port, or its own address"),
    Code("ReservedPort", E, "A port that the proxy itself uses.", "use another port"),
    Code("GatewayHostConflict", W, "Two servers with TLS settings have one host on one port; the older one stands.",
         "list a host once per port"),
    Code("GatewayPortConflict", W, "Servers of different protocols on one port of a gateway; the older one stands.",
         "use another port, or the same protocol"),
    Code("InboundPortConflict", W, "Services lead to one port of a workload with different protocols.",
         "give the port one protocol", "IST0116"),
    Code("LocalityWithoutOutlierDetection", W, "Failover between localities without outlier detection does little.",
         "add outlierDetection"),
    # Services
    Code("DuplicateHost", W, "A host is declared twice in a namespace.", "use each host once in a namespace",
         "IST0177"),
    Code("DuplicateAddress", W, "Two services share an address and port.", "give each its own address"),
    Code("NoAddress", E, "All automatic addresses are in use.", "give an address"),
    Code("EndpointIsAName", E, "An endpoint is a name where addresses are handed out.",
         "give IP addresses, or a ServiceEntry with resolution DNS"),
    Code("PortConflict", W, "Clusters give one port different names or protocols.",
         "give the port one name and protocol in all clusters", "IST0170"),
    Code("InvalidRange", E, "MeshNetworks has a range that is no CIDR.", "write 10.0.0.0/8"),
    Code("GatewayIsAName", E, "A gateway of MeshNetworks is given by a name.", "give IP addresses"),
    Code("GatewayWithoutAddress", E, "A gateway of MeshNetworks has no address, nor has its service.",
         "give address, or the service's externalIPs"),
    # Security
    Code("PolicyFailsClosed", E, "A policy is not valid, so everything is denied where it selects.",
         "correct what is wrong with it, or delete it"),
    Code("DeniesTcp", W, "A DENY rule about requests denies everything on TCP ports.",
         "name the HTTP ports in to.operation.ports"),
    Code("LiteralWildcard", W, "A * that stands for itself.", "use it at the beginning or at the end"),
    Code("UnknownMethod", W, "A method that no client sends in this form.", "write it in upper case"),
    Code("NoKeys", W, "A token issuer without keys: all its tokens are refused.", "give jwksUri or jwks"),
    Code("UnusableKey", W, "A key of a token issuer that Envoy cannot use.", "use RSA, EC or OKP keys"),
    Code("KeysAwaited", I, "Keys of a token issuer are being fetched.", "wait"),
    Code("KeysUnavailable", E, "Keys of a token issuer cannot be fetched: its tokens are refused.",
         "make jwksUri reachable for istiod"),
    Code("KeysNotRefreshed", W, "Keys of a token issuer cannot be fetched again; the last ones count.",
         "make jwksUri reachable for istiod"),
    Code("InvalidCredential", E, "A Secret with a certificate or key that cannot be used.", "correct it", "IST0161"),
    Code("CredentialMissing", E, "A Secret that an object names is not there, or not for this proxy.",
         "create the Secret in the namespace of the gateway's pods", "IST0101, IST0161"),
    Code("CredentialIgnored", W, "A credentialName where it does not count.", "add a workloadSelector to the rule"),
    Code("CredentialExpired", E, "A certificate in a Secret is out of date.", "renew it", "IST0161"),
    Code("PatchMatchesNothing", W, "A patch of an EnvoyFilter matched nothing in any connected proxy.",
         "correct its match"),
)  # fmt: skip
# Said of the control plane's own files, stores and proxies, never of an object of the API.
NOT_ABOUT_OBJECTS = frozenset(
    {"BadKey", "BadRecord", "RecordFromTheFuture", "StoreOlderThanSeen", "CaUnusable", "InvalidCsr", "InvalidNode",
     "TooManyNames"}
)  # fmt: skip

CODES: dict[str, Code] = {code.word: code for code in sorted((*OF_ANALYZERS, *OF_PARTS), key=lambda code: code.word)}
