"""Network namespaces for a plan: links, addresses, routes, firewall and capture, as batches for `ip` and `iptables-restore`.

Nothing is ever made in the machine's own namespace but the namespaces themselves. Text is made purely; the shell is `apply`.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence

from federation.lab.plan import ETCD_ADDRESS, GATEWAY_PORT, Cluster, LabPlan, Pod
from federation.model.errors import Unavailable

PROXY_UID = 1337
APP_UID = 1000
OUTBOUND_PORT, INBOUND_PORT = 15001, 15006
NOT_CAPTURED = (15008, 15020, 15021, 15090)


def router_ns(plan: LabPlan, cluster: Cluster) -> str:
    """Name of the namespace with a cluster's bridge and router."""
    return f"{plan.prefix}{cluster.name}-net"


def wan_ns(plan: LabPlan) -> str:
    """Name of the namespace with the wide area's bridge."""
    return f"{plan.prefix}wan"


def etcd_ns(plan: LabPlan) -> str:
    """Name of the store's namespace."""
    return f"{plan.prefix}etcd"


def istiod_ns(plan: LabPlan, cluster: Cluster) -> str:
    """Name of a control plane's namespace."""
    return f"{plan.prefix}{cluster.name}-istiod"


def pod_ns(plan: LabPlan, pod: Pod) -> str:
    """Name of a pod's namespace."""
    return f"{plan.prefix}{pod.cluster}-{pod.name}"


def namespaces(plan: LabPlan) -> list[str]:
    """All namespaces of a lab."""
    names = [wan_ns(plan), etcd_ns(plan)]
    for cluster in plan.clusters:
        names += [router_ns(plan, cluster), istiod_ns(plan, cluster)]
        names += [pod_ns(plan, pod) for pod in (*cluster.pods, *cluster.gateways)]
    return names


def port_on_wan(kind: str, cluster: Cluster, number: int = 0) -> str:
    """Name of a link's end in the wide area's bridge."""
    return f"w{kind}{cluster.index}-{number}"


def link_commands(plan: LabPlan) -> Iterator[str]:
    """`ip -batch` lines that make every link in place."""
    wan = wan_ns(plan)
    for name in namespaces(plan):
        yield f"netns add {name}"
    yield f"-n {wan} link add br0 type bridge"
    yield f"-n {wan} link set br0 up"
    yield from _wire(etcd_ns(plan), "eth0", wan, "wetcd", f"{ETCD_ADDRESS}/24")
    for cluster in plan.clusters:
        yield from _cluster_links(plan, cluster, wan)


def _cluster_links(plan: LabPlan, cluster: Cluster, wan: str) -> Iterator[str]:
    router = router_ns(plan, cluster)
    yield f"-n {router} link add br0 type bridge"
    yield f"-n {router} addr add {cluster.router}/16 dev br0"
    yield f"-n {router} link set br0 up"
    yield f"-n {router} link set lo up"
    yield from _wire(router, "wan0", wan, port_on_wan("r", cluster), f"{cluster.router_wan}/24")
    control = istiod_ns(plan, cluster)
    yield from _wire(control, "eth0", router, "istiod", f"{cluster.istiod}/16")
    yield from _wire(control, "eth1", wan, port_on_wan("i", cluster), f"{cluster.istiod_wan}/24")
    for number, pod in enumerate((*cluster.pods, *cluster.gateways)):
        name = pod_ns(plan, pod)
        yield from _wire(name, "eth0", router, f"p{number}", f"{pod.address}/16")
        if pod.wan:
            yield from _wire(name, "eth1", wan, port_on_wan("g", cluster, number), f"{pod.wan}/24")
        yield f"-n {name} route add default via {cluster.router}"


def _wire(inside: str, device: str, bridge: str, port: str, address: str) -> Iterator[str]:
    yield f"link add {device} netns {inside} type veth peer name {port} netns {bridge}"
    yield f"-n {inside} addr add {address} dev {device}"
    yield f"-n {inside} link set {device} up"
    yield f"-n {inside} link set lo up"
    yield f"-n {bridge} link set {port} master br0"
    yield f"-n {bridge} link set {port} up"


def router_rules(plan: LabPlan, cluster: Cluster) -> str:
    """A pod reaches its own network, and of other networks the gateways alone, from the router's address."""
    gateways = ",".join(gateway.wan for other in plan.clusters for gateway in other.gateways if other.name != cluster.name)
    lines = ["*filter", ":INPUT ACCEPT [0:0]", ":FORWARD DROP [0:0]", ":OUTPUT ACCEPT [0:0]"]
    lines.append("-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT")
    if gateways:
        lines.append(f"-A FORWARD -i br0 -o wan0 -p tcp -d {gateways} --dport {GATEWAY_PORT} -j ACCEPT")
    lines += ["COMMIT", "*nat", ":POSTROUTING ACCEPT [0:0]", "-A POSTROUTING -o wan0 -j MASQUERADE", "COMMIT", ""]
    return "\n".join(lines)


def capture_rules() -> str:
    """Istio's REDIRECT rules: what the application sends and gets goes through the sidecar, the sidecar's own does not."""
    lines = ["*nat", ":PREROUTING ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]"]
    chains = ("ISTIO_INBOUND", "ISTIO_IN_REDIRECT", "ISTIO_OUTPUT", "ISTIO_REDIRECT")
    lines += [f":{chain} - [0:0]" for chain in chains]
    lines += [
        f"-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports {OUTBOUND_PORT}",
        f"-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports {INBOUND_PORT}",
        "-A PREROUTING -p tcp -j ISTIO_INBOUND",
        "-A OUTPUT -p tcp -j ISTIO_OUTPUT",
    ]
    lines += [f"-A ISTIO_INBOUND -p tcp --dport {port} -j RETURN" for port in NOT_CAPTURED]
    lines += ["-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT", "-A ISTIO_OUTPUT -s 127.0.0.6/32 -o lo -j RETURN"]
    for owner in (f"--uid-owner {PROXY_UID}", f"--gid-owner {PROXY_UID}"):
        lines += [
            f"-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo -p tcp ! --dport 15008 -m owner {owner} -j ISTIO_IN_REDIRECT",
            f"-A ISTIO_OUTPUT -o lo -m owner ! {owner} -j RETURN",
            f"-A ISTIO_OUTPUT -m owner {owner} -j RETURN",
        ]
    lines += ["-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN", "-A ISTIO_OUTPUT -j ISTIO_REDIRECT", "COMMIT", ""]
    return "\n".join(lines)


def bring_up(plan: LabPlan) -> None:
    """Make all namespaces and links of a plan. Raises Unavailable with the command's own words."""
    missing = [tool for tool in ("ip", "iptables-restore", "nsenter", "setpriv", "sysctl") if shutil.which(tool) is None]
    if missing:
        raise Unavailable(f"the lab needs {', '.join(missing)}: apt-get install iproute2 iptables util-linux procps")
    run(["ip", "-batch", "-"], "\n".join(link_commands(plan)) + "\n")
    capture = capture_rules()
    script = ["set -e"]
    for cluster in plan.clusters:
        router = router_ns(plan, cluster)
        script.append(f"{_in(router)} sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=0 || {_in(router)} sysctl -qw net.ipv4.ip_forward=1")
        script.append(f"{_in(router)} iptables-restore -w <<'EOF'\n{router_rules(plan, cluster)}EOF")
        for pod in cluster.pods:
            script.append(f"{_in(pod_ns(plan, pod))} iptables-restore -w <<'EOF'\n{capture}EOF")
            tuning = "net.ipv4.tcp_tw_reuse=1 net.ipv4.ip_local_port_range='1024 65000'"
            script.append(f"{_in(pod_ns(plan, pod))} sysctl -qw {tuning}")
    script.append(f"{_in(wan_ns(plan))} sysctl -qw net.bridge.bridge-nf-call-iptables=0 || true")
    run(["sh", "-s"], "\n".join(script) + "\n")


def take_down(prefix: str) -> list[str]:
    """Delete every namespace that begins with a prefix; links inside go with them. Returns their names."""
    found = sorted(name for name in existing() if name.startswith(prefix))
    if found:
        run(["ip", "-batch", "-force", "-"], "".join(f"netns del {name}\n" for name in found), check=False)
    return found


def existing() -> list[str]:
    """Names of all namespaces on this machine."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False)
    return [line.split()[0] for line in listed.stdout.splitlines() if line.strip()]


def _in(namespace: str) -> str:
    return f"nsenter --net=/run/netns/{namespace}"


def run(command: Sequence[str], text: str = "", check: bool = True) -> str:
    """Run a command with input; raises Unavailable with what it said if it fails."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise Unavailable(f"{command[0]} failed: {(done.stderr or done.stdout).strip()[:600]}")
    return done.stdout
