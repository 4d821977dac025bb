"""Exporting by files: what is written, what is refused, and that istiod's own rules take it as meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from federation.model.labels import Labels
from federation.model.names import NamespacedName
from istiod.api.meta import Meta
from istiod.api.parse import parse_documents
from istiod.cli.main import app
from istiod.registry.exports import consumers_of

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: a, namespace: shop, labels: {%s}}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}]}
"""
ENTRY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: pay, namespace: shop}
spec:
  hosts: [pay.example.com]
  resolution: DNS
  ports: [{number: 443, name: tls, protocol: TLS}]
"""
KEY = NamespacedName("shop", "a")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "a.yaml").write_text(SERVICE % "")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "pay.yml").write_text(ENTRY)
    return tmp_path


def run(directory: Path, *words: str) -> tuple[int, str]:
    """Exit code and everything that was said, in one line."""
    result = CliRunner().invoke(app, [*words, "-n", "shop", "--config-dir", str(directory)])
    return result.exit_code, " ".join((result.stdout + result.stderr).split())


def consumers(directory: Path, name: str) -> tuple[str, ...] | None:
    """Who may use it, as istiod reads the directory."""
    parsed = parse_documents((directory / f"export-shop-{name}.yaml").read_text(), "export")
    assert not parsed.findings
    exports = {item.meta.key: item for item in parsed.objects}
    return consumers_of(Meta(name, "shop", Labels({})), exports)  # type: ignore[arg-type]


def test_export_and_unexport(directory: Path) -> None:
    assert run(directory, "service", "export", "a")[0] == 0
    assert consumers(directory, "a") == ()
    assert run(directory, "service", "export", "a", "--to", "west, north")[0] == 0
    assert consumers(directory, "a") == ("north", "west")
    assert run(directory, "service", "unexport", "a")[0] == 0
    assert not (directory / "export-shop-a.yaml").exists()


def test_entry_below_the_directory(directory: Path) -> None:
    assert run(directory, "entry", "export", "pay", "--to", "west")[0] == 0
    assert consumers(directory, "pay") == ("west",)


def test_dry_run_changes_nothing(directory: Path) -> None:
    code, said = run(directory, "service", "export", "a", "--dry-run")
    assert (code, "kind: ServiceExport" in said) == (0, True)
    assert not (directory / "export-shop-a.yaml").exists()
    run(directory, "service", "export", "a")
    assert run(directory, "service", "unexport", "a", "--dry-run")[0] == 0
    assert (directory / "export-shop-a.yaml").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("service", "export", "b"), "there are: shop/a"),
        (("service", "export", "pay"), "Service shop/pay"),
        (("entry", "export", "a"), "there are: shop/pay"),
        (("service", "export", "a", "--to", "We st"), "'We st' is no cluster's name"),
        (("service", "export", "../a"), "is not in"),
        (("service", "unexport", "a"), "exports it"),
    ],
)
def test_refusals(directory: Path, words: tuple[str, ...], said: str) -> None:
    before = sorted(directory.rglob("*"))
    code, text = run(directory, *words)
    assert (code, said in text) == (2, True), text
    assert sorted(directory.rglob("*")) == before


def test_export_that_stands_elsewhere_is_left_alone(directory: Path) -> None:
    run(directory, "service", "export", "a")
    (directory / "export-shop-a.yaml").rename(directory / "mine.yaml")
    for verb in ("export", "unexport"):
        code, said = run(directory, "service", verb, "a")
        assert (code, "mine.yaml exports it" in said) == (2, True), said


def test_label_that_exports_is_named(directory: Path) -> None:
    (directory / "a.yaml").write_text(SERVICE % 'isthmus.io/export: "true"')
    code, said = run(directory, "service", "unexport", "a")
    assert (code, "label isthmus.io/export" in said) == (2, True), said


def test_no_directory(tmp_path: Path) -> None:
    assert run(tmp_path / "absent", "service", "export", "a")[0] == 2


def test_broken_object_says_why(directory: Path) -> None:
    (directory / "a.yaml").write_text((SERVICE % "").replace("port: 80", "port: eighty"))
    code, said = run(directory, "service", "export", "a")
    assert (code, "spec.ports[0].port" in said) == (2, True), said
