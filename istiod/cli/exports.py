"""Which files of a configuration directory make a service exported, and what to write or remove. No HTTP, no terminal.

The meaning of a ServiceExport is that of `istiod.registry.exports`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from federation.model.errors import InvalidInput
from federation.model.findings import Finding, Severity
from federation.model.names import NamespacedName
from istiod.api.kinds import Kind
from istiod.api.meta import Object
from istiod.api.parse import parse_documents
from istiod.registry.exports import CONSUMERS_ANNOTATION, EXPORT_LABEL

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
MAX_FILE_BYTES = 64 << 20
_CLUSTER = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Directory:
    """The objects of a configuration directory with the file of each, and what was wrong with them."""

    objects: tuple[tuple[Path, Object[Any]], ...]
    findings: tuple[Finding, ...]

    def of(self, kind: Kind, key: NamespacedName) -> list[tuple[Path, Object[Any]]]:
        """The objects of this kind and name."""
        return [(path, item) for path, item in self.objects if item.kind == kind and item.meta.key == key]


def read_directory(directory: Path) -> Directory:
    """Read the files that istiod would read. Raises InvalidInput if there is no such directory."""
    if not directory.is_dir():
        raise _refused("NoDirectory", str(directory), "is no directory", "give istiod's --config-dir")
    objects: list[tuple[Path, Object[Any]]] = []
    findings: list[Finding] = []
    for path in sorted(_files(directory)):
        text = _text(path)
        if isinstance(text, Finding):
            findings.append(text)
            continue
        parsed = parse_documents(text, str(path.relative_to(directory)))
        objects += [(path, item) for item in parsed.objects if isinstance(item, Object)]
        findings += parsed.findings
    return Directory(tuple(objects), tuple(findings))


def _files(directory: Path) -> Iterator[Path]:
    for path in directory.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _files(path)
        elif path.suffix in SUFFIXES and path.is_file():
            yield path


def _text(path: Path) -> str | Finding:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError(f"is larger than {MAX_FILE_BYTES} bytes")
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as wrong:
        return Finding(Severity.ERROR, "FileUnreadable", f"File {path.name}", "", str(wrong), "make it readable")


@dataclass(frozen=True, slots=True)
class ExportChange:
    """What a command does to the directory: the file, its new text (None: removed), and what it did not like."""

    path: Path
    text: str | None
    findings: tuple[Finding, ...] = ()


def plan_export(
    directory: Path, found: Directory, kind: Kind, key: NamespacedName, consumers: Sequence[str]
) -> ExportChange:
    """The file that exports a Service or ServiceEntry to these clusters (none: to all).

    Raises InvalidInput if there is no such object, a name is none, or another file exports it already.
    """
    bad = [cluster for cluster in consumers if not _CLUSTER.fullmatch(cluster)]
    if bad:
        raise _refused("InvalidCluster", "--to", f"{bad[0]!r} is no cluster's name", "use lower case letters and '-'")
    if not found.of(kind, key):
        there = _names(found, kind)
        unusable = [f for f in found.findings if f.severity is Severity.ERROR and f.object == f"{kind} {key}"]
        fix = f"there are: {there}" if there else f"the directory holds no {kind}"
        raise InvalidInput([*unusable, _finding(f"No{kind}", f"{kind} {key}", f"is not in {directory}", fix)])
    path = directory / export_file(key)
    others = [where for where, _ in found.of(Kind.SERVICE_EXPORT, key) if where != path]
    if others:
        raise _refused("AlreadyExported", f"{kind} {key}", f"{others[0]} exports it", "change or remove that file")
    return ExportChange(path, format_export(key, consumers), tuple(_also(found, kind, key)))


def plan_unexport(directory: Path, found: Directory, kind: Kind, key: NamespacedName) -> ExportChange:
    """The file whose removal ends an export. Raises InvalidInput if it is not exported, or by something else."""
    path = directory / export_file(key)
    exports = [where for where, _ in found.of(Kind.SERVICE_EXPORT, key)]
    others = [where for where in exports if where != path]
    labelled = [where for where, item in found.of(kind, key) if _is_labelled(item)]
    if others:
        raise _refused("ExportedElsewhere", f"{kind} {key}", f"{others[0]} exports it", "remove it from that file")
    if labelled:
        message = f"its own label {EXPORT_LABEL} in {labelled[0]} exports it"
        raise _refused("ExportedByLabel", f"{kind} {key}", message, "remove the label")
    if not exports:
        raise _refused("NotExported", f"{kind} {key}", f"nothing in {directory} exports it", "see isthmus service list")
    return ExportChange(path, None)


def export_file(key: NamespacedName) -> str:
    """The name of the file that exports an object."""
    return f"export-{key.namespace}-{key.name}.yaml"


def format_export(key: NamespacedName, consumers: Sequence[str]) -> str:
    """A ServiceExport as text."""
    metadata: dict[str, object] = {"name": key.name, "namespace": key.namespace}
    if consumers:
        metadata["annotations"] = {CONSUMERS_ANNOTATION: ",".join(sorted(set(consumers)))}
    document = {"apiVersion": "multicluster.x-k8s.io/v1alpha1", "kind": "ServiceExport", "metadata": metadata}
    return yaml.safe_dump(document, sort_keys=False)


def _also(found: Directory, kind: Kind, key: NamespacedName) -> Iterator[Finding]:
    """A ServiceExport has no kind: a ServiceEntry of the same name as a Service goes with it."""
    other = Kind.SERVICE_ENTRY if kind is Kind.SERVICE else Kind.SERVICE
    if found.of(other, key):
        message = f"is exported too: it has the name of the {kind}"
        yield Finding(Severity.WARNING, "ExportsBoth", f"{other} {key}", "", message, "rename one of them")


def _is_labelled(item: Object[Any]) -> bool:
    labels: Mapping[str, str] = item.meta.labels
    return labels.get(EXPORT_LABEL, "false").lower() not in ("false", "")


def _names(found: Directory, kind: Kind) -> str:
    return ", ".join(sorted({str(item.meta.key) for _, item in found.objects if item.kind == kind})[:20])


def _finding(code: str, item: str, message: str, fix: str) -> Finding:
    return Finding(Severity.ERROR, code, item, "", message, fix)


def _refused(code: str, item: str, message: str, fix: str) -> InvalidInput:
    return InvalidInput([_finding(code, item, message, fix)])
