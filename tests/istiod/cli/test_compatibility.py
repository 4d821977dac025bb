"""docs/compatibility.md is what the models say, and what it calls followed is really read."""

from __future__ import annotations

import ast
from pathlib import Path

from istiod.api.meshconfig import MeshConfig, MeshNetworks
from istiod.cli.compatibility import WITHOUT_EFFECT, kinds_of_istio, messages_of, render

ROOT = Path(__file__).parents[3]
FOLLOWERS = ("registry", "resolve", "view", "gatewayapi", "sources", "ca", "discovery.py", "snapshot.py", "pipeline.py")


def test_the_page_is_up_to_date() -> None:
    page = (ROOT / "docs/compatibility.md").read_text()
    assert page == render(), "run scripts/compatibility"


def test_every_field_that_is_called_followed_is_read_beyond_its_own_module() -> None:
    read = {name for part in FOLLOWERS for path in _files(ROOT / "istiod" / part) for name in _attributes(path)}
    models = [info.model for info in kinds_of_istio()]
    dead = [
        f"{message.__name__}.{name}"
        for model in (*models, MeshConfig, MeshNetworks)
        for message in messages_of(model)
        for name in message.model_fields
        if name not in read and name not in WITHOUT_EFFECT.get(message, {})
    ]
    assert sorted(set(dead)) == [
        "BackendValidation.well_known_ca_certificates",  # its one value is what holds without caCertificateRefs
        "GatewayClass.description",
    ]


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def _attributes(path: Path) -> set[str]:
    """Names that a module reads of something: `a.name`, or a text, as in getattr."""
    tree = ast.parse(path.read_text())
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return names | {
        node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
