from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import Result
from typer.testing import CliRunner

from istiod.cli.main import app
from tests.istiod.cli.test_status import isthmus, istiod

GOOD = """
apiVersion: v1
kind: Service
metadata: {name: a, namespace: shop}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}]}
"""
OTHER = GOOD.replace("name: a,", "name: b,")  # of the same virtual address
BAD = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: shop}
spec: {hosts: [a], http: [{retries: {attempts: many}}]}
"""
LOST = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: shop}
spec: {hosts: [a], http: [{route: [{destination: {host: lost}}]}]}
"""
UNNAMED = GOOD.replace("name: http, ", "")
MISSPELT = LOST.replace("lost", "a").replace("hosts", "hots")


def run(*words: object, text: str = "") -> Result:
    return CliRunner().invoke(app, ["analyze", *map(str, words)], input=text)


def analyze(*words: object, text: str = "") -> tuple[int, list[dict[str, Any]]]:
    result = run(*words, "-o", "json", text=text)
    return result.exit_code, json.loads(result.stdout)


def codes(*words: object, text: str = "") -> tuple[int, list[str]]:
    code, found = analyze(*words, text=text)
    return code, [finding["code"] for finding in found]


def test_nothing_wrong(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    assert analyze(tmp_path) == (0, [])
    assert "nothing found" in run(tmp_path).stdout


def test_error_of_an_object(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD + "---" + BAD)
    code, findings = analyze(tmp_path)
    assert code == 1
    assert {"VirtualService shop/v"} == {finding["object"] for finding in findings if finding["severity"] == "error"}


def test_error_between_objects(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD + "---" + LOST)
    code, findings = analyze(tmp_path)
    assert code == 1
    assert findings == [
        {
            "severity": "error",
            "code": "HostNotFound",
            "istio": "IST0101",
            "object": "VirtualService shop/v",
            "path": "spec.http[0].route[0].destination.host",
            "message": "'lost' is the host of no service",
            "fix": "correct the host, or declare it in a ServiceEntry",
        }
    ]
    assert "1 errors, 0 warnings, 0 notes" in run(tmp_path).stdout


def test_conflict_between_objects(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text(OTHER)
    assert codes(tmp_path) == (0, ["DuplicateAddress"])


def test_findings_that_only_a_proxy_s_configuration_shows(tmp_path: Path) -> None:
    servers = "[{port: {number: 80, name: a, protocol: %s}, hosts: ['*']}]"
    gateway = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: %s}\nspec: {servers: %s}"
    (tmp_path / "a.yaml").write_text(gateway % ("g", servers % "HTTP") + "\n---\n" + gateway % ("h", servers % "TCP"))
    assert "GatewayPortConflict" in codes(tmp_path)[1]


def test_several_files_and_standard_input(tmp_path: Path) -> None:
    for name, text in (("a.yaml", GOOD), ("b.txt", LOST)):
        (tmp_path / name).write_text(text)
    assert codes(tmp_path / "a.yaml", tmp_path / "b.txt") == (1, ["HostNotFound"])
    assert codes(tmp_path / "a.yaml", "-", text=LOST) == (1, ["HostNotFound"])
    assert codes(tmp_path) == (0, [])  # in a directory only YAML and JSON count


def test_directories_below_need_recursive(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "b.yaml").write_text(LOST)
    result = run(tmp_path)
    assert (result.exit_code, "not read:" in result.stderr) == (0, True)
    assert codes(tmp_path, "-R") == (1, ["HostNotFound"])


def test_unreadable_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00")
    assert codes(tmp_path) == (1, ["FileUnreadable"])


def test_mesh_config(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "mesh.txt").write_text("trustDomian: x")
    assert codes(tmp_path, "--mesh-config", tmp_path / "mesh.txt") == (1, ["UnknownField"])


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), 0),
        (("--failure-threshold", "info"), 1),
        (("--failure-threshold", "warning"), 0),
        (("--failure-threshold", "info", "-S", "PortNameUnknown=Service shop/*"), 0),
    ],
)
def test_failure_threshold(tmp_path: Path, words: tuple[str, ...], code: int) -> None:
    (tmp_path / "a.yaml").write_text(UNNAMED)
    assert run(tmp_path, *words).exit_code == code


def test_what_is_not_shown_still_fails(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(UNNAMED)
    assert codes(tmp_path, "--severity", "warning", "--failure-threshold", "info") == (1, [])


def test_suppressions_and_namespaces(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD + "---" + LOST)
    assert codes(tmp_path, "--suppress", "HostNotFound=VirtualService shop/v") == (0, [])
    assert codes(tmp_path, "--suppress", "IST0101=VirtualService other/*") == (1, ["HostNotFound"])
    assert codes(tmp_path, "-n", "other") == (0, [])
    assert codes(tmp_path, "-n", "shop") == codes(tmp_path, "-A") == (1, ["HostNotFound"])
    annotation = "{name: v, namespace: shop, annotations: {galley.istio.io/analyze-suppress: 'HostNotFound'}}"
    (tmp_path / "a.yaml").write_text(GOOD + "---" + LOST.replace("{name: v, namespace: shop}", annotation))
    assert codes(tmp_path) == (0, [])


def test_fix_prints_a_patch(tmp_path: Path) -> None:
    path = tmp_path / "v.yaml"
    path.write_text(MISSPELT)
    result = run(path, "--fix")
    assert result.exit_code == 1
    assert "-spec: {hots: [a]" in result.stdout
    assert "+spec: {hosts: [a]" in result.stdout
    assert result.stdout.startswith(f"--- a/{path}\n")
    assert path.read_text() == MISSPELT


def test_list_codes() -> None:
    listed = json.loads(run("--list-codes", "-o", "json").stdout)
    assert {"code": "HostNotFound", "istio": "IST0101"}.items() <= listed_by(listed, "HostNotFound").items()


def listed_by(listed: list[dict[str, str]], code: str) -> dict[str, str]:
    return next(item for item in listed if item["code"] == code)


@pytest.mark.parametrize(
    "words",
    [
        ["/no/such/directory"],
        [],
        ["/", "--suppress", "="],
        ["/", "-n", "a", "-A"],
        ["/", "--istiod", "http://127.0.0.1:1"],
        ["--istiod", "http://127.0.0.1:1"],
        ["/", "--severity", "loud"],
    ],
)
def test_wrong_usage(words: list[str]) -> None:
    assert run(*words).exit_code == 2


async def test_a_running_mesh(tmp_path: Path) -> None:
    """Two control planes, one of them with wrong objects; asked together, suppressed and with corrections."""
    for cluster, text in (
        ("east", GOOD + "---" + LOST + "---" + MISSPELT.replace("name: v", "name: w")),
        ("west", GOOD),
    ):
        (tmp_path / cluster / "config").mkdir(parents=True)
        (tmp_path / cluster / "config" / "a.yaml").write_text(text)
    async with istiod(tmp_path / "east", "east") as east, istiod(tmp_path / "west", "west") as west:
        both = (east.http, west.http)
        for one in (east, west):  # it listens when it has read its files
            async with grpc.aio.insecure_channel(one.xds) as channel:
                await asyncio.wait_for(channel.channel_ready(), 30)
        code, out, _ = await isthmus("analyze", "-o", "json", istiods=both)
        found = [(item["cluster"], item["code"], item["object"]) for item in json.loads(out)]
        assert (code, found) == (
            1,
            [("east", "HostNotFound", "VirtualService shop/v"), ("east", "UnknownField", "VirtualService shop/w")],
        )
        assert await isthmus("analyze", "-o", "json", istiods=(west.http,)) == (0, "[]\n", "")
        rules = ("-S", "HostNotFound", "-S", "UnknownField=VirtualService shop/w")
        assert (await isthmus("analyze", *rules, istiods=(east.http,)))[0] == 0
        code, out, _ = await isthmus("analyze", "--fix", istiods=(east.http,))
        assert (code, out) == (
            1,
            "kubectl patch virtualservice.networking.istio.io w -n shop --type=json "
            '-p \'[{"op": "move", "from": "/spec/hots", "path": "/spec/hosts"}]\'\n',
        )


def test_a_certificate_out_of_date(tmp_path: Path, credential: Any) -> None:
    (tmp_path / "a.yaml").write_text(credential("web.test", age=timedelta(days=3)).secret("web", "edge"))
    assert codes(tmp_path) == (0, ["CredentialExpired"])  # a warning: it is served all the same
