"""Istio's REDIRECT rules for a pod, and the firewall of a network's router, as text for iptables-restore. Pure.

The capture rules are what `istio-iptables` sets up without annotations (Istio docs, "Application Requirements" and the
`traffic.sidecar.istio.io/*` annotations): all outgoing TCP to 15001, all incoming to 15006, nothing of uid or gid 1337.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

PROXY_UID = 1337
APP_UID = 1000
OUTBOUND, INBOUND, HBONE = 15001, 15006, 15008
UNCAPTURED = (HBONE, 15090, 15021, 15020)
PASSTHROUGH_SOURCE = "127.0.0.6/32"
_NAT_CHAINS = ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING")
_ISTIO_CHAINS = ("ISTIO_INBOUND", "ISTIO_REDIRECT", "ISTIO_IN_REDIRECT", "ISTIO_OUTPUT")


def capture_rules() -> str:
    """The nat table of a pod with a sidecar."""
    inbound = [f"-A ISTIO_INBOUND -p tcp --dport {port} -j RETURN" for port in UNCAPTURED]
    rules = [
        f"-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports {OUTBOUND}",
        f"-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports {INBOUND}",
        "-A PREROUTING -p tcp -j ISTIO_INBOUND",
        *inbound,
        "-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT",
        "-A OUTPUT -p tcp -j ISTIO_OUTPUT",
        f"-A ISTIO_OUTPUT -s {PASSTHROUGH_SOURCE} -o lo -j RETURN",
        *_outgoing("uid"),
        *_outgoing("gid"),
        "-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN",
        "-A ISTIO_OUTPUT -j ISTIO_REDIRECT",
    ]
    chains = [f":{name} ACCEPT [0:0]" for name in _NAT_CHAINS] + [f":{name} - [0:0]" for name in _ISTIO_CHAINS]
    return _table("nat", [*chains, *rules])


def _outgoing(owner: str) -> Iterator[str]:
    """The proxy calling its own pod's address goes through the inbound side; what it sends out otherwise is its own
    business.
    """
    mine = f"-m owner --{owner}-owner {PROXY_UID}"
    not_mine = f"-m owner ! --{owner}-owner {PROXY_UID}"
    yield f"-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo -p tcp -m tcp ! --dport {HBONE} {mine} -j ISTIO_IN_REDIRECT"
    yield f"-A ISTIO_OUTPUT -o lo {not_mine} -j RETURN"
    yield f"-A ISTIO_OUTPUT {mine} -j RETURN"


def router_rules(bridge: str, uplink: str, gateways: Sequence[str], ports: Sequence[int]) -> str:
    """A network's router: pods reach other networks' gateways, masqueraded, and nothing else beyond their own
    network.
    """
    listed = ",".join(str(port) for port in ports)
    forward = [
        f"-A FORWARD -i {bridge} -o {uplink} -p tcp -d {g} -m multiport --dports {listed} -j ACCEPT" for g in gateways
    ]
    filter_table = [
        ":INPUT ACCEPT [0:0]",
        ":FORWARD DROP [0:0]",
        ":OUTPUT ACCEPT [0:0]",
        "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
        *forward,
    ]
    nat = [*(f":{name} ACCEPT [0:0]" for name in _NAT_CHAINS), f"-A POSTROUTING -o {uplink} -j MASQUERADE"]
    return _table("filter", filter_table) + _table("nat", nat)


def _table(name: str, lines: Sequence[str]) -> str:
    return "\n".join((f"*{name}", *lines, "COMMIT")) + "\n"
