"""From a case's YAML to what its proxy gets, and to a bootstrap with all of it that a real Envoy can judge.

A case is a folder with `input.yaml` and one `expected.<cds|eds|lds|rds>.yaml`. The first document of the input says
who the proxy is, which resources of that type are compared (by name, with wildcards), MeshConfig and MeshNetworks, and
the codes of errors that are meant; the others are the mesh's objects.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml

from federation.bootstrap import ProxyBootstrap, render_bootstrap
from federation.model.findings import Finding, Severity
from federation.model.locality import Locality
from federation.pki.issue import make_root, pem_of, sign_server
from federation.pki.keys import encode_key, generate_key
from istiod.api.kinds import Kind
from istiod.encode.clusters import encode_cluster
from istiod.encode.decode import decode_resource
from istiod.encode.endpoints import encode_endpoints
from istiod.encode.listeners import encode_listener
from istiod.encode.patch_added import added_resources
from istiod.encode.patch_report import idle_patches, report_of, value_findings
from istiod.encode.resource import CLUSTER, LISTENER, Resource
from istiod.encode.routes import encode_routes
from istiod.registry.contribution import Place
from istiod.resolve.config import resolve_view
from istiod.snapshot import Snapshot, SnapshotBuilder
from istiod.sources.contents import Contents, MeshFile
from istiod.store import Store
from istiod.view.classes import view_of
from istiod.view.node import proxy_from_node

HERE = Path(__file__).parent
Json = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One case: resources of the proxy by type and name, as data."""

    directory: Path
    type: str
    show: tuple[str, ...]
    proxy: ProxyBootstrap
    resources: dict[str, dict[str, Json]]
    findings: tuple[Finding, ...]
    errors: tuple[str, ...]  # codes of the errors that its author meant

    @property
    def expected(self) -> Path:
        return self.directory / f"expected.{self.type}.yaml"

    def shown(self) -> str:
        """The resources that are compared, as text."""
        shown = {
            name: item
            for name, item in sorted(self.resources[self.type].items())
            if any(fnmatchcase(name, pattern) for pattern in self.show)
        }
        return yaml.safe_dump(list(shown.values()), sort_keys=True, width=120)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests that ask for a `case_name` run once for each folder."""
    if "case_name" in metafunc.fixturenames:
        metafunc.parametrize("case_name", sorted(path.parent.name for path in HERE.glob("*/input.yaml")))


@pytest.fixture
def case(case_name: str) -> Case:
    directory = HERE / case_name
    head, rest = (directory / "input.yaml").read_text().split("\n---\n", 1)
    return read_case(directory, yaml.safe_load(head), rest)


def read_case(directory: Path, said: Json, rest: str) -> Case:
    """A case out of its first document and the others."""
    proxy = ProxyBootstrap(
        **{
            "type": "sidecar",
            "name": "web-1",
            "namespace": "shop",
            "service_account": "web",
            "address": "10.0.0.1",
            "cluster": "east",
            "network": "net-east",
            "mesh": "m1",
            "xds_host": "127.0.0.1",
            "xds_port": 15012,
            "server_name": "istiod.istio-system.svc",
            "root_file": Path("root.pem"),
            "token_file": Path("token"),
            "directory": Path(),
            "admin_socket": Path("admin.sock"),
            **said["proxy"],
            "locality": Locality.parse(said["proxy"].get("locality", "")),
        }
    )
    snapshot = _snapshot(rest, said.get("mesh", {}), said.get("networks", {}))
    resources, findings = _resources(snapshot, proxy, said.get("metadata", {}))
    ((kind, show),) = said["show"].items()
    return Case(
        directory, kind, tuple(show), proxy, resources, (*snapshot.findings, *findings), tuple(said.get("errors", ()))
    )


def _snapshot(objects: str, mesh: Json, networks: Json) -> Snapshot:
    store, contents = Store(), Contents()
    contents.put("input.yaml", objects)
    store.apply(contents.events())
    store.apply(MeshFile(Kind.MESH_CONFIG, "mesh.yaml").put(yaml.safe_dump(mesh)))
    store.apply(MeshFile(Kind.MESH_NETWORKS, "networks.yaml").put(yaml.safe_dump({"networks": networks})))
    return SnapshotBuilder(Place("east", "net-east")).build(store.tables())


def _resources(
    snapshot: Snapshot, bootstrap: ProxyBootstrap, metadata: Json
) -> tuple[dict[str, dict[str, Json]], tuple[Finding, ...]]:
    node = render_bootstrap(bootstrap)["node"]
    proxy = proxy_from_node(node["id"], {**node["metadata"], **metadata}, bootstrap.locality, (1, 40))
    config = resolve_view(snapshot, view_of(proxy, snapshot))

    added = list(added_resources(config.added))
    clusters = [*map(encode_cluster, config.clusters), *(made for url, made in added if url == CLUSTER)]
    listeners = [*map(encode_listener, config.listeners), *(made for url, made in added if url == LISTENER)]
    routes = list(map(encode_routes, config.routes))
    report = report_of(config.patches, config.removed, (*clusters, *listeners, *routes, *(made for _, made in added)))

    def decoded(made: Iterable[Resource]) -> dict[str, Json]:
        return {resource.name: json.loads(json.dumps(decode_resource(resource))) for resource in made}

    return {
        "cds": decoded(clusters),
        "eds": decoded(map(encode_endpoints, config.endpoints)),
        "lds": decoded(listeners),
        "rds": decoded(routes),
    }, (*config.findings, *value_findings(snapshot), *idle_patches([report]))


@pytest.fixture(scope="session")
def secret() -> Callable[[str, bool], Json]:
    return make_secret()


def make_secret() -> Callable[[str, bool], Json]:
    """Makes an Envoy secret of a name: a certificate with its key, or roots."""
    now = datetime.now(UTC)
    root, key = make_root("m1", now), generate_key()
    pem = sign_server(root, key.public_key(), ("web",), timedelta(hours=1), now)

    def make(name: str, certificate: bool) -> Json:
        made: Json = {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret", "name": name}
        if not certificate:
            return {**made, "validation_context": {"trusted_ca": {"inline_string": pem_of(root.certificate).decode()}}}
        inline = {"certificate_chain": {"inline_string": pem.decode()}}
        return {**made, "tls_certificate": {**inline, "private_key": {"inline_string": encode_key(key).decode()}}}

    return make


@pytest.fixture
def whole_bootstrap(secret: Callable[[str, bool], Json]) -> Callable[[Case, Path], Path]:
    return lambda case, directory: write_whole(case, directory, secret)


def write_whole(case: Case, directory: Path, secret: Callable[[str, bool], Json]) -> Path:
    """Write one static bootstrap with everything of a case: what would come by xDS stands where it is used, and secrets
    lie in files.
    """
    whole = _Whole(case, directory, secret)
    bootstrap = render_bootstrap(case.proxy)
    del bootstrap["dynamic_resources"]
    clusters, listeners = bootstrap["static_resources"]["clusters"], bootstrap["static_resources"]["listeners"]
    clusters[:] = [cluster for cluster in clusters if cluster["name"] != "xds-grpc"]  # that is not at test here
    clusters += [_stub("sds-grpc"), *map(whole.cluster, case.resources["cds"].values())]
    listeners += map(whole.listener, case.resources["lds"].values())
    path = directory / "bootstrap.json"
    path.write_text(json.dumps(bootstrap))
    return path


class _Whole:
    """Puts what a case's resources refer to in the place of the reference."""

    def __init__(self, case: Case, directory: Path, secret: Callable[[str, bool], Json]) -> None:
        self._endpoints, self._routes = case.resources["eds"], case.resources["rds"]
        self._directory = directory
        self._secret = secret

    def cluster(self, cluster: Json) -> Json:
        made: Json = self._whole(cluster)
        if made.get("type") == "EDS":
            del made["edsClusterConfig"]
            empty = {"clusterName": made["name"]}
            made.update(type="STATIC", loadAssignment=self._endpoints.get(made["name"], empty))
        return made

    def listener(self, listener: Json) -> Json:
        """gRPC's form (`api_listener`) becomes one that Envoy takes."""
        made: Json = self._whole(listener)
        if "apiListener" not in made:
            return made
        manager = {
            "name": "envoy.filters.network.http_connection_manager",
            "typedConfig": made["apiListener"]["apiListener"],
        }
        address = {"socketAddress": {"address": "127.0.0.1", "portValue": 0}}
        return {"name": made["name"], "address": address, "filterChains": [{"filters": [manager]}]}

    def _whole(self, value: Any, under: str = "") -> Any:
        if isinstance(value, list):
            return [self._whole(item, under) for item in value]
        if not isinstance(value, dict):
            return value
        if "sdsConfig" in value:
            return self._with_file(value, under == "tlsCertificateSdsSecretConfigs")
        made = {key: self._whole(item, key) for key, item in value.items() if key != "rds"}
        if "rds" in value:
            name = value["rds"]["routeConfigName"]
            assert name in self._routes, f"a listener asks for routes {name!r} that nobody gives"
            made["routeConfig"] = self._routes[name]
        return made

    def _with_file(self, reference: Json, certificate: bool) -> Json:
        name = reference["name"]
        path = self._directory / f"secret-{name.replace('/', '_').replace(':', '_')}.json"
        path.write_text(json.dumps({"resources": [self._secret(name, certificate)]}))
        source = {"pathConfigSource": {"path": str(path)}, "resourceApiVersion": "V3"}
        return {"name": name, "sdsConfig": source}


def _stub(name: str) -> Json:
    return {"name": name, "type": "STATIC", "connectTimeout": "1s", "loadAssignment": {"clusterName": name}}


@pytest.fixture
def no_errors() -> Callable[[Case], None]:
    """Fails with the findings of a case that is not as its author meant it."""

    def check(case: Case) -> None:
        errors = [finding for finding in case.findings if finding.severity >= Severity.ERROR]
        assert [finding.code for finding in errors] == list(case.errors), [str(finding) for finding in errors]

    return check
