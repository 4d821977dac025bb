"""`isthmus proxy why`: what a request meets at a proxy. Options and output; `istiod.why` finds it out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

import typer

from federation.cli.output import DEGRADED, OK, Format, Output, Timeout, console, fail, run_async, say, show
from federation.model.errors import InvalidInput, Unavailable
from federation.model.findings import Finding, Severity
from istiod.cli.client import DEFAULT, Istiods, ask
from istiod.cli.inputs import read_files, snapshot_of
from istiod.cli.offline import ConfigDir, MeshConfigFile, MeshNetworksFile, find_proxy, made_up, proxies_of
from istiod.view.classes import view_of
from istiod.view.proxy import ProxyType
from istiod.why.answer import Answer, Outcome
from istiod.why.explain import explain
from istiod.why.request import parse_request

MAX_ENDPOINTS = 10


class Side(StrEnum):
    """Whether the proxy's own workload sends the request, or is sent it."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class Kind(StrEnum):
    """What a made-up proxy is."""

    SIDECAR = "sidecar"
    ROUTER = "router"


def why(
    proxy: Annotated[str, typer.Argument(help="Node id, pod name, or pod.namespace.")],
    method: Annotated[str, typer.Argument(help="Method of the request; any word for tcp:// and tls://.")],
    url: Annotated[str, typer.Argument(help="http, https, tcp or tls; of a gateway: the port that it listens on.")],
    header: Annotated[list[str] | None, typer.Option("-H", "--header", help="'name: value'; may be repeated.")] = None,
    from_: Annotated[Side, typer.Option("--from", help="outbound: the workload calls; inbound: it is called.")] = (
        Side.OUTBOUND
    ),
    source_principal: Annotated[
        str, typer.Option(help="Identity of the caller, e.g. cluster.local/ns/shop/sa/web: it comes with mutual TLS.")
    ] = "",
    source_address: Annotated[str, typer.Option(help="Address of the caller.")] = "",
    istiod: Istiods = [DEFAULT],  # noqa: B006
    config_dir: ConfigDir = None,
    mesh_config: MeshConfigFile = None,
    mesh_networks: MeshNetworksFile = None,
    labels: Annotated[str, typer.Option(help="With --config-dir: labels (k=v,…) of a pod that is in no file.")] = "",
    type_: Annotated[Kind, typer.Option("--type", help="With --config-dir: what such a pod is.")] = Kind.SIDECAR,
    output: Output = Format.TABLE,
    timeout: Timeout = 30.0,
) -> None:
    """Say what a request meets at a proxy, and which object decided each step: listener, policies, route, upstream.

    Computed from the objects that the control plane has now; nothing is sent. Exit code 0 if the request would get
    through (or be answered below 400), 1 if it would not or if that cannot be told, 2 if the question is wrong.

    isthmus proxy why web-1.shop GET http://reviews:9080/api -H 'end-user: jason'
    isthmus proxy why reviews-1.shop GET http://reviews:9080/ --from inbound --source-principal east.mesh/ns/shop/sa/web
    isthmus proxy why ingress-1.istio-system GET https://shop.example.com/cart
    isthmus proxy why web-1.shop GET http://reviews:9080/ --config-dir east/config -o json
    """
    inbound = from_ is Side.INBOUND
    try:
        request = parse_request(method, url, header or (), inbound, source_principal, source_address)
        if config_dir is not None:
            files = read_files([str(config_dir)], recursive=True)
            snapshot = snapshot_of(files, mesh_config, mesh_networks)
            found = find_proxy(proxies_of(snapshot), proxy)
            if found is None:
                given = [part.partition("=") for part in labels.split(",") if part]
                found = made_up(ProxyType(type_.value), proxy, {key: value for key, _, value in given})
                say(f"{proxy} is in no file: taken as a {type_.value} without services, labels {labels or 'none'}")
            address = next(iter(found.addresses), "")
            answer = explain(snapshot, view_of(found, snapshot), found.id, request, time.time(), address)
    except InvalidInput as wrong:
        fail(wrong)
    if config_dir is None:
        parameters = {
            "proxy": proxy, "method": method, "url": url, "headers": "\n".join(header or ()), "from": from_.value,
            "principal": source_principal, "source": source_address,
        }  # fmt: skip
        answer = run_async(_ask(istiod, parameters, timeout), timeout + 5)
    if output is Format.TABLE:
        for line in lines(answer):
            console.print(line, markup=False, soft_wrap=True)
    else:
        show(answer, output)
    raise typer.Exit(OK if answer.outcome in (Outcome.ROUTED, Outcome.ANSWERED) else DEGRADED)


async def _ask(addresses: list[str], parameters: dict[str, str], timeout: float) -> Answer:
    """The answer of the first control plane that knows the proxy; what all of them said if none does."""
    findings: list[Finding] = []
    for address in addresses:
        try:
            return await ask(address, "why", parameters, Answer, timeout)
        except InvalidInput as wrong:
            findings += wrong.findings
        except Unavailable as error:
            findings.append(Finding(Severity.ERROR, "Unavailable", address, "", str(error), ""))
    raise InvalidInput(findings)


def lines(answer: Answer) -> Iterator[str]:
    """The answer for people: numbered steps, the objects behind each, endpoints, and how it ends."""
    yield f"{answer.request}  at {answer.proxy}"
    width = max((len(step.topic) for step in answer.steps), default=0)
    for number, step in enumerate(answer.steps, 1):
        yield f"{number:>2}. {step.topic:<{width}}  {step.said}"
        for cause in step.causes:
            yield f"    {'':<{width}}    by {cause}"
    for upstream in answer.upstreams:
        for host in (upstream.endpoints or ())[:MAX_ENDPOINTS]:
            tier = f", priority {host.priority}" if host.priority else ""
            place = f", {host.locality}" if host.locality else ""
            yield f"    endpoint of {upstream.name}: {host.address} {host.health}{place}{tier}"
        if upstream.endpoints is not None and len(upstream.endpoints) > MAX_ENDPOINTS:
            yield f"    and {len(upstream.endpoints) - MAX_ENDPOINTS} more"
    status = f" with {answer.status}" if answer.status is not None else ""
    yield f"=> {answer.outcome.value}{status}: {answer.reason}"
