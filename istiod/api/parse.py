"""Text that people wrote -> objects and findings. One parser for files, the command line and (later) the webhook.

Pure. Every error of an object is reported at once with its field path as Istio spells it; one wrong object costs that
object alone. An invalid traffic object is absent; an invalid security object becomes `Invalid`, so that what it selects
fails closed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pydantic import BaseModel

from federation.model.findings import Finding, Severity
from federation.model.labels import NO_LABELS, Labels
from istiod.api.document import Document, NotYaml, parse_document, split_documents
from istiod.api.kinds import VERSIONS, KindInfo, info_of
from istiod.api.meshconfig import Defaults, MeshConfig, MeshNetworks, ignored_settings, validate_mesh, validate_networks
from istiod.api.meta import AnyObject, Invalid, Meta, Object, Unbuilt
from istiod.api.problems import Problem
from istiod.api.validation import QUOTE, validate_model

M = TypeVar("M", bound=BaseModel)
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_ENVELOPE = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})


@dataclass(frozen=True, slots=True)
class Parsed:
    """What one text gave: objects in their order, and everything wrong with it."""

    objects: tuple[AnyObject, ...]
    findings: tuple[Finding, ...]


def parse_documents(text: str, source: str) -> Parsed:
    """Read a file of YAML or JSON documents; `source` names it in findings."""
    parts = [parse_one(document, source) for document in split_documents(text)]
    return Parsed(
        tuple(found for part in parts for found in part.objects),
        tuple(finding for part in parts for finding in part.findings),
    )


def parse_one(document: Document, source: str) -> Parsed:
    """Read one document of a file: an object, or a `kind: List` of them."""
    try:
        data = parse_document(document.text)
    except NotYaml as wrong:
        return Parsed((), (_not_yaml(wrong, document, source),))
    if data is None:
        return Parsed((), ())
    items = data["items"] if _is_list(data) else [data]
    parts = [parse_object(item, source) for item in items]
    return Parsed(
        tuple(parsed for parsed, _ in parts if parsed is not None),
        tuple(finding for _, findings in parts for finding in findings),
    )


def parse_object(document: Any, source: str) -> tuple[AnyObject | None, list[Finding]]:
    """Read one object from plain data; None if it cannot be used at all."""
    if not isinstance(document, Mapping) or not isinstance(document.get("kind"), str):
        return None, [_error(f"File {source}", "NotAnObject", "has no kind", "give apiVersion, kind and metadata")]
    kind = document["kind"][:100]
    group, _, version = str(document.get("apiVersion") or "").rpartition("/")
    info = info_of(group, kind)
    meta, problems = _meta(document.get("metadata"), cluster_scoped=info is not None and info.cluster_scoped)
    if meta is None:
        return None, [_of(problem, f"{kind} in {source}") for problem in problems]
    name = f"{kind} {meta.namespace}/{meta.name}" if meta.namespace else f"{kind} {meta.name}"
    if info is None:
        return Unbuilt(kind, meta), [_unbuilt(kind, group, name), *(_of(problem, name) for problem in problems)]
    if version not in VERSIONS:
        known = f"{group}/v1".lstrip("/")
        problems.append(Problem("apiVersion", f"{version!r} is not known for {kind}", f"use {known}", "UnknownVersion"))
    return _typed(document, info, meta, name, problems)


def parse_mesh_config(
    text: str, source: str, defaults: str = "resilient"
) -> tuple[MeshConfig | None, tuple[Finding, ...]]:
    """Read MeshConfig; `defaults` is the profile where the text names none. None if it cannot be used."""
    name = f"MeshConfig {source}"
    data, findings = _one_document(text, source)
    if data is None:
        return None, findings
    settings = data.get("isthmus") or {}
    if isinstance(settings, dict):
        settings = {"defaults": Defaults(defaults).value, **settings}
    mesh, problems = validate_model(MeshConfig, {**data, "isthmus": settings}, "")
    problems += list(validate_mesh(mesh)) if mesh is not None else []
    usable = not any(problem.severity is Severity.ERROR for problem in problems)
    problems += list(ignored_settings(mesh)) if mesh is not None else []
    return mesh if usable else None, tuple(_of(problem, name) for problem in problems)


def parse_mesh_networks(text: str, source: str) -> tuple[MeshNetworks | None, tuple[Finding, ...]]:
    """Read MeshNetworks; None if it cannot be used."""
    data, findings = _one_document(text, source)
    if data is None:
        return None, findings
    networks, problems = validate_model(MeshNetworks, data, "")
    problems += list(validate_networks(networks)) if networks is not None else []
    usable = not any(problem.severity is Severity.ERROR for problem in problems)
    return networks if usable else None, tuple(_of(problem, f"MeshNetworks {source}") for problem in problems)


def _one_document(text: str, source: str) -> tuple[dict[str, Any] | None, tuple[Finding, ...]]:
    documents = list(split_documents(text)) or [Document("{}")]
    if len(documents) > 1:
        return None, (_error(f"File {source}", "NotAnObject", "has several documents", "keep one"),)
    try:
        data = parse_document(documents[0].text)
    except NotYaml as wrong:
        return None, (_not_yaml(wrong, documents[0], source),)
    if not isinstance(data, dict | None):
        return None, (_error(f"File {source}", "NotAnObject", "is no mapping", "write fields, one a line"),)
    return data or {}, ()


def _is_list(data: Any) -> bool:
    return isinstance(data, dict) and data.get("kind") == "List" and isinstance(data.get("items"), list)


def _meta(raw: Any, cluster_scoped: bool) -> tuple[Meta | None, list[Problem]]:
    """Metadata, and what is wrong with it; None without a usable name. Labels that are no text are left out."""
    if not isinstance(raw, Mapping):
        return None, [_bad_meta("metadata", "is missing", "give metadata.name and metadata.namespace")]
    name, namespace = raw.get("name"), "" if cluster_scoped else raw.get("namespace") or "default"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return None, [_bad_meta("metadata.name", _bad_name(name), "use lower case letters, digits, '-' and '.'")]
    if namespace and not (isinstance(namespace, str) and _NAMESPACE.fullmatch(namespace)):
        return None, [_bad_meta("metadata.namespace", _bad_name(namespace), "use lower case letters, digits and '-'")]
    problems: list[Problem] = []
    labels = _labels(raw.get("labels"), "metadata.labels", problems)
    annotations = _labels(raw.get("annotations"), "metadata.annotations", problems)
    return Meta(name, namespace, labels, annotations, str(raw.get("creationTimestamp") or "")), problems


def _bad_name(name: Any) -> str:
    return f"{str(name)[:100]!r} is no name of Kubernetes" if name else "is missing"


def _bad_meta(path: str, message: str, fix: str) -> Problem:
    return Problem(path, message, fix, "InvalidMetadata")


def _labels(values: Any, path: str, problems: list[Problem]) -> Labels:
    if not values:
        return NO_LABELS
    if not isinstance(values, Mapping):
        problems.append(_bad_meta(path, "is no mapping", "write key: value, one a line"))
        return NO_LABELS
    for key, value in values.items():
        if not isinstance(value, str):
            shown = repr(value)[:80] if not isinstance(value, dict | list) else "a collection"
            problems.append(_bad_meta(f"{path}.{key}", f"{shown} is no text", QUOTE))
    return Labels({key: value for key, value in values.items() if isinstance(value, str)})


def _typed(
    document: Mapping[str, Any], info: KindInfo, meta: Meta, name: str, problems: list[Problem]
) -> tuple[AnyObject | None, list[Finding]]:
    if info.whole:
        fields: Any = {key: value for key, value in document.items() if key not in ("apiVersion", "kind", "metadata")}
    else:
        fields = {} if document.get("spec") is None else document["spec"]
        for key in document.keys() - _ENVELOPE:
            fix = "write spec" if key.lower() == "spec" else "remove it, or move it under spec"
            problems.append(Problem(str(key)[:100], "is no field", fix, "UnknownField"))
    spec, wrong = validate_model(info.model, fields, "" if info.whole else "spec")
    if info.confidential:
        meta = replace(meta, annotations=NO_LABELS)
        wrong = [replace(problem, message="has a wrong value, which is not shown") for problem in wrong]
    problems += wrong
    if spec is not None and info.validate is not None:
        problems += info.validate(spec)
    findings = [_of(problem, name) for problem in problems]
    if spec is not None and not any(problem.severity is Severity.ERROR for problem in problems):
        return Object(info.kind.value, meta, spec), findings
    return (Invalid(info.kind.value, meta, _selector(fields)), findings) if info.security else (None, findings)


def _selector(fields: Any) -> Labels:
    """The labels that a broken policy selects; none (so its whole namespace) unless they are beyond doubt."""
    selector = fields.get("selector") if isinstance(fields, Mapping) else None
    labels = selector.get("matchLabels") if isinstance(selector, Mapping) and len(selector) == 1 else None
    if not isinstance(labels, Mapping) or not all(isinstance(value, str) for value in labels.values()):
        return NO_LABELS
    return Labels(labels)


def _of(problem: Problem, name: str) -> Finding:
    return Finding(problem.severity, problem.code, name, problem.path, problem.message, problem.fix)


def _error(name: str, code: str, message: str, fix: str) -> Finding:
    return Finding(Severity.ERROR, code, name, "", message, fix)


def _not_yaml(wrong: NotYaml, document: Document, source: str) -> Finding:
    line = f"line {document.line + wrong.line}" if wrong.line else f"the document at line {document.line + 1}"
    return _error(f"File {source}", "NotYaml", f"{line} is no YAML: {wrong.reason}", "correct the file")


def _unbuilt(kind: str, group: str, name: str) -> Finding:
    """What is said of an object that nothing follows: an error for security, a note for others' kinds."""
    if group == "security.istio.io":
        severity, message, fix = Severity.ERROR, "is not enforced by this version", "do not rely on it"
    elif group.endswith("istio.io") or group == "gateway.networking.k8s.io":
        severity, message, fix = Severity.WARNING, "has no effect in this version", "do not rely on it"
    else:
        severity, message, fix = Severity.INFO, "is no kind that the mesh reads", ""
    shown = f"{kind} of {group[:100]}" if group else kind
    return Finding(severity, "KindNotSupported", name, "", f"{shown} {message}", fix)
