"""WorkloadGroup and WorkloadEntry: what is taken, and what exactly is said of everything else."""

from __future__ import annotations

from typing import Any

import pytest

from istiod.api.meta import Object
from istiod.api.parse import parse_object

NOTHING_REGISTERS = (
    "WARNING", "FieldNotSupported", "spec.template", "makes no workloads: nothing registers them by itself yet",
)  # fmt: skip


def parse(kind: str, spec: Any) -> tuple[Any, list[tuple[str, str, str, str]]]:
    document = {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": "g"}, "spec": spec}
    item, findings = parse_object(document, "test.yaml")
    found = item.spec if isinstance(item, Object) else None
    return found, [(one.severity.name, one.code, one.path, one.message) for one in findings]


def test_every_field_of_a_group_is_read() -> None:
    spec = {
        "metadata": {"labels": {"app": "db"}, "annotations": {"a": "b c"}},
        "template": {
            "ports": {"grpc": 3550}, "labels": {"x": "y"}, "network": "n", "locality": "r/z", "weight": 2,
            "serviceAccount": "default",
        },
        "probe": {
            "initialDelaySeconds": 5, "timeoutSeconds": 3, "periodSeconds": 4, "successThreshold": 3,
            "failureThreshold": 3,
            "httpGet": {"path": "/", "host": "127.0.0.1", "port": 3100, "scheme": "HTTPS",
                        "httpHeaders": [{"name": "Lit-Header", "value": "Im-The-Best"}]},
        },
    }  # fmt: skip
    group, findings = parse("WorkloadGroup", spec)
    assert findings == [NOTHING_REGISTERS]
    assert group.metadata.labels == {"app": "db"}
    assert group.template.service_account == "default"
    assert group.probe.http_get.http_headers[0].value == "Im-The-Best"
    for method in (
        {"tcpSocket": {"host": "h", "port": 1}},
        {"exec": {"command": ["a"]}},
        {"grpc": {"port": 1, "service": "s"}},
    ):
        assert parse("WorkloadGroup", {"template": {}, "probe": method})[1] == [NOTHING_REGISTERS]


def http(**fields: Any) -> Any:
    return {"template": {}, "probe": {"httpGet": {"port": 80, **fields}}}


@pytest.mark.parametrize(
    ("spec", "code", "path", "message"),
    [
        ({}, "MissingField", "spec.template", "is missing"),
        ({"template": "x"}, "InvalidValue", "spec.template", "'x' is no mapping"),
        ({"template": {"adress": "1.1.1.1"}}, "UnknownField", "spec.template.adress", "is no field"),
        ({"template": {"ports": {"http": 0}}}, "InvalidValue", "spec.template.ports.http",
         "0: input should be greater than or equal to 1"),
        ({"template": {"ports": {"HTTP": 80}}}, "InvalidValue", "spec.template.ports.HTTP", "is no name of a port"),
        ({"template": {"labels": {"a b": "c"}}}, "InvalidValue", "spec.template.labels.a b", "is no key of a label"),
        ({"template": {}, "metadata": {"labels": {"a": "b c"}}}, "InvalidValue", "spec.metadata.labels.a",
         "'b c' is no value of a label"),
        ({"template": {}, "metadata": {"name": "x"}}, "UnknownField", "spec.metadata.name", "is no field"),
        ({"template": {"weight": -1}}, "InvalidValue", "spec.template.weight",
         "-1: input should be greater than or equal to 0"),
        ({"template": {}, "probe": {}}, "InvalidValue", "spec.probe", "has no method"),
        ({"template": {}, "probe": {"tcpSocket": {"port": 1}, "exec": {"command": ["a"]}}}, "InvalidValue",
         "spec.probe", "has tcpSocket and exec"),
        ({"template": {}, "probe": {"periodSeconds": -1, "tcpSocket": {"port": 1}}}, "InvalidValue",
         "spec.probe.periodSeconds", "-1: input should be greater than or equal to 0"),
        ({"template": {}, "probe": {"tcpSocket": {"port": 70000}}}, "InvalidValue", "spec.probe.tcpSocket.port",
         "70000: input should be less than or equal to 65535"),
        ({"template": {}, "probe": {"tcpSocket": {}}}, "MissingField", "spec.probe.tcpSocket.port", "is missing"),
        ({"template": {}, "probe": {"httpGet": {}}}, "MissingField", "spec.probe.httpGet.port", "is missing"),
        (http(scheme="FTP"), "InvalidValue", "spec.probe.httpGet.scheme", "'FTP' is no scheme of a probe"),
        (http(httpHeaders=[{"name": "a b"}]), "InvalidValue", "spec.probe.httpGet.httpHeaders[0].name",
         "'a b' is no name of a header"),
        (http(httpHeaders=[{"value": "x"}]), "InvalidValue", "spec.probe.httpGet.httpHeaders[0].name",
         "'' is no name of a header"),
        ({"template": {}, "probe": {"exec": {}}}, "MissingField", "spec.probe.exec.command", "is missing"),
        ({"template": {}, "probe": {"grpc": {"port": 0}}}, "InvalidValue", "spec.probe.grpc.port",
         "0: input should be greater than or equal to 1"),
    ],
)  # fmt: skip
def test_errors_of_groups(spec: Any, code: str, path: str, message: str) -> None:
    group, findings = parse("WorkloadGroup", spec)
    assert group is None
    assert [one for one in findings if one[0] == "ERROR"] == [("ERROR", code, path, message)]


def test_an_address_of_all_workloads() -> None:
    group, findings = parse("WorkloadGroup", {"template": {"address": "10.0.0.1"}})
    assert group is not None
    assert findings[0] == (
        "WARNING", "InvalidValue", "spec.template.address", "has no effect: each workload has its own",
    )  # fmt: skip


@pytest.mark.parametrize(
    "spec",
    [
        {"address": "10.0.0.1", "ports": {"http": 80}, "weight": 0, "locality": "a/b/c", "serviceAccount": "s"},
        {"address": "fd00::1", "labels": {"app.kubernetes.io/name": "x", "empty": ""}},
        {"address": "vm.example.com."},
        {"network": "n"},
        {"address": "unix:///var/run/x.sock"},
        {"address": "unix://@abstract"},
    ],
)
def test_entries(spec: Any) -> None:
    assert parse("WorkloadEntry", spec)[1] == []


@pytest.mark.parametrize(
    ("spec", "path", "message"),
    [
        ({}, "spec.address", "is empty"),
        ({"address": "a_b!"}, "spec.address", "'a_b!' is neither an IP address nor a host name"),
        ({"address": "*.example.com"}, "spec.address",
         "'*.example.com' is neither an IP address nor a host name"),
        ({"address": "10.0.0.0/8"}, "spec.address",
         "'10.0.0.0/8' is neither an IP address nor a host name"),
        ({"address": "unix://relative"}, "spec.address", "'unix://relative' is no absolute path of a socket"),
        ({"address": "unix:///x", "ports": {"http": 80}}, "spec.ports", "are given with a unix:// address"),
        ({"address": "10.0.0.1", "ports": {"a_b": 80}}, "spec.ports.a_b", "is no name of a port"),
        ({"address": "10.0.0.1", "ports": {"a": 65536}}, "spec.ports.a",
         "65536: input should be less than or equal to 65535"),
        ({"address": "10.0.0.1", "labels": {"a/b/c": "x"}}, "spec.labels.a/b/c", "is no key of a label"),
        ({"address": "10.0.0.1", "labels": {"a": "-"}}, "spec.labels.a", "'-' is no value of a label"),
        ({"address": "10.0.0.1", "labels": {"a": "x" * 64}}, "spec.labels.a",
         f"'{'x' * 64}' is no value of a label"),
        ({"address": "10.0.0.1", "weight": -1}, "spec.weight",
         "-1: input should be greater than or equal to 0"),
        ({"address": 10}, "spec.address", "10 is no text"),
        ({"address": "10.0.0.1", "port": 80}, "spec.port", "is no field"),
    ],
)  # fmt: skip
def test_errors_of_entries(spec: Any, path: str, message: str) -> None:
    entry, findings = parse("WorkloadEntry", spec)
    assert entry is None
    assert [(level, where, why) for level, _, where, why in findings] == [("ERROR", path, message)]
