"""Text that people wrote -> objects and findings. One parser for files, the command line and (later) the webhook.

Pure. Every error of an object is reported at once with its field path as Istio spells it; one wrong object costs that object
alone. Bounded: size, depth and aliases of a document, so that no text can exhaust the process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from federation.model.findings import Finding, Severity
from federation.model.labels import Labels
from istiod.api.kinds import KINDS, UNBUILT, VERSIONS, KindInfo
from istiod.api.meshconfig import Defaults, MeshConfig, MeshNetworks, ignored_settings
from istiod.api.meta import AnyObject, Invalid, Meta, Object, Unbuilt
from istiod.api.problems import Problem

MAX_BYTES = 4 << 20
MAX_DEPTH = 64
MAX_ALIASES = 100
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Parsed:
    """What one text gave: objects in their order, and everything wrong with it."""

    objects: tuple[AnyObject, ...]
    findings: tuple[Finding, ...]


def parse_documents(text: str, source: str) -> Parsed:
    """Read a file of YAML or JSON documents; `source` names it in findings."""
    objects: list[AnyObject] = []
    findings: list[Finding] = []
    for document in _documents(text, source, findings):
        for item in _items(document):
            parsed, found = parse_object(item, source)
            findings += found
            if parsed is not None:
                objects.append(parsed)
    return Parsed(tuple(objects), tuple(findings))


def parse_object(document: Any, source: str) -> tuple[AnyObject | None, list[Finding]]:
    """Read one object from plain data; None if it cannot be used at all."""
    if not isinstance(document, Mapping) or not isinstance(document.get("kind"), str):
        return None, [_finding(source, "NotAnObject", "has no kind", "give apiVersion, kind and metadata")]
    kind, version = document["kind"], str(document.get("apiVersion", ""))
    meta, problem = _meta(document, cluster_scoped=bool(KINDS.get(kind) and KINDS[kind].cluster_scoped))
    if meta is None:
        return None, [
            _finding(f"{kind} in {source}", "InvalidMetadata", problem, "give metadata.name and metadata.namespace")
        ]
    name = f"{kind} {meta.namespace}/{meta.name}" if meta.namespace else f"{kind} {meta.name}"
    info = KINDS.get(kind)
    if info is None:
        return Unbuilt(kind, meta), [_unbuilt(kind, name)]
    group, _, api = version.rpartition("/")
    if group not in info.groups or api not in VERSIONS:
        known = f"{next(iter(info.groups))}/v1".lstrip("/")
        return None, [
            _finding(name, "UnknownVersion", f"apiVersion {version!r} is not known for {kind}", f"use {known}")
        ]
    return _typed(document, info, meta, name)


def parse_mesh_config(
    text: str, source: str, defaults: str = "resilient"
) -> tuple[MeshConfig | None, tuple[Finding, ...]]:
    """Read MeshConfig; `defaults` is the profile where the text names none. None if it cannot be used."""
    data, findings = _one_document(text, source)
    if data is None:
        return None, tuple(findings)
    settings = (
        {"defaults": Defaults(defaults).value, **(data.get("isthmus") or {})}
        if isinstance(data.get("isthmus") or {}, dict)
        else data["isthmus"]
    )
    mesh, problems = _validate(MeshConfig, {**data, "isthmus": settings}, "")
    findings += [_of(problem, f"MeshConfig {source}") for problem in problems]
    if mesh is not None:
        for name in ignored_settings(mesh):
            findings.append(
                Finding(
                    Severity.WARNING,
                    "SettingIgnored",
                    f"MeshConfig {source}",
                    name,
                    "has no effect yet",
                    "do not rely on it",
                )
            )
    return mesh, tuple(findings)


def parse_mesh_networks(text: str, source: str) -> tuple[MeshNetworks | None, tuple[Finding, ...]]:
    """Read MeshNetworks; None if it cannot be used."""
    data, findings = _one_document(text, source)
    if data is None:
        return None, tuple(findings)
    networks, problems = _validate(MeshNetworks, data, "")
    findings += [_of(problem, f"MeshNetworks {source}") for problem in problems]
    return networks, tuple(findings)


def _one_document(text: str, source: str) -> tuple[dict[str, Any] | None, list[Finding]]:
    findings: list[Finding] = []
    documents = list(_documents(text, source, findings))
    if findings:
        return None, findings
    data = documents[0] if documents else {}
    if not isinstance(data, dict):
        return None, [_finding(f"File {source}", "NotAnObject", "is no mapping", "write fields, one a line")]
    return data, findings


def _documents(text: str, source: str, findings: list[Finding]) -> Iterator[Any]:
    if len(text) > MAX_BYTES:
        findings.append(
            _finding(f"File {source}", "TooLarge", f"has {len(text)} characters", f"stay below {MAX_BYTES}")
        )
        return
    try:
        _check_shape(text)
        documents = [document for document in yaml.load_all(text, Loader=_Loader) if document is not None]  # noqa: S506
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as wrong:
        mark = getattr(wrong, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        reason = getattr(wrong, "problem", None) or str(wrong)
        findings.append(_finding(f"File {source}", "NotYaml", f"is no YAML{line}: {reason}", "correct the file"))
        return
    yield from documents


def _check_shape(text: str) -> None:
    """Refuse deep nesting and alias bombs before anything is built of them."""
    if "*" not in text and "&" not in text and text.count("{") + text.count("[") < MAX_DEPTH and not _deep(text):
        return
    depth = aliases = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.events.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
        elif isinstance(event, yaml.events.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.events.AliasEvent):
            aliases += 1
            if aliases > MAX_ALIASES:
                raise ValueError(f"more than {MAX_ALIASES} aliases")


def _deep(text: str) -> bool:
    return any(len(line) - len(line.lstrip(" -")) > MAX_DEPTH for line in text.splitlines())


def _items(document: Any) -> Iterable[Any]:
    if isinstance(document, Mapping) and document.get("kind") == "List" and isinstance(document.get("items"), list):
        return document["items"]
    return (document,)


def _meta(document: Mapping[str, Any], cluster_scoped: bool) -> tuple[Meta | None, str]:
    raw = document.get("metadata")
    if not isinstance(raw, Mapping) or not isinstance(raw.get("name"), str) or not raw["name"]:
        return None, "metadata.name is missing"
    namespace = raw.get("namespace") or ("" if cluster_scoped else "default")
    labels, annotations = raw.get("labels") or {}, raw.get("annotations") or {}
    if not isinstance(namespace, str) or not isinstance(labels, Mapping) or not isinstance(annotations, Mapping):
        return None, f"metadata of {raw['name'][:100]!r} has a namespace, labels or annotations of a wrong type"
    created = raw.get("creationTimestamp") or ""
    text = (
        created if isinstance(created, str) else created.isoformat() if hasattr(created, "isoformat") else str(created)
    )
    return Meta(raw["name"], "" if cluster_scoped else namespace, _labels(labels), _labels(annotations), text), ""


def _labels(values: Mapping[Any, Any]) -> Labels:
    return Labels({str(key): str(value) for key, value in values.items()})


def _typed(
    document: Mapping[str, Any], info: KindInfo, meta: Meta, name: str
) -> tuple[AnyObject | None, list[Finding]]:
    fields = document.get("spec")
    if info.whole:
        fields = {key: value for key, value in document.items() if key not in ("apiVersion", "kind", "metadata")}
    spec, problems = _validate(info.model, {} if fields is None else fields, "" if info.whole else "spec")
    if spec is not None and info.validate is not None:
        problems += list(info.validate(spec))
    findings = [_of(problem, name) for problem in problems]
    if spec is None or any(problem.severity is Severity.ERROR for problem in problems):
        return (Invalid(info.kind.value, meta, _selector(fields)), findings) if info.security else (None, findings)
    return Object(info.kind.value, meta, spec), findings


def _selector(fields: Any) -> Labels:
    """The labels that a policy selects, as far as they can be read of a broken one."""
    selector = fields.get("selector") if isinstance(fields, Mapping) else None
    labels = selector.get("matchLabels") or selector.get("labels") if isinstance(selector, Mapping) else None
    return _labels(labels) if isinstance(labels, Mapping) else Labels()


def _validate(model: type[M], fields: Any, root: str) -> tuple[M | None, list[Problem]]:
    try:
        return model.model_validate(fields), []
    except ValidationError as wrong:
        return None, [_problem(model, error, root) for error in wrong.errors(include_url=False)]


def _problem(model: type[BaseModel], error: Any, root: str) -> Problem:
    path = root
    for part in error["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    value = repr(error.get("input"))
    shown = value if len(value) <= 80 else value[:77] + "..."
    match error["type"]:
        case "extra_forbidden":
            known = _known_fields(model, error["loc"][:-1])
            near = get_close_matches(str(error["loc"][-1]), known, 1)
            return Problem(path, "is no field", f"did you mean {near[0]}?" if near else "remove it", "UnknownField")
        case "missing":
            return Problem(path, "is missing", "give it a value", "MissingField")
    text = str(error["msg"]).removeprefix("Value error, ")
    return Problem(path, f"{shown}: {text[:1].lower()}{text[1:]}")


def _known_fields(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The field names at a place of a model, found by walking its annotations."""
    here: Any = model
    for part in location:
        if isinstance(part, int):
            continue
        field = (
            next((f for n, f in here.model_fields.items() if part in (n, f.alias)), None)
            if hasattr(here, "model_fields")
            else None
        )
        if field is None:
            continue
        here = _model_in(field.annotation) or here
    return [str(field.alias or name) for name, field in here.model_fields.items()]


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found is not None:
            return found
    return None


def _of(problem: Problem, name: str) -> Finding:
    return Finding(problem.severity, problem.code, name, problem.path, problem.message, problem.fix)


def _finding(name: str, code: str, message: str, fix: str) -> Finding:
    return Finding(Severity.ERROR, code, name, "", message, fix)


def _unbuilt(kind: str, name: str) -> Finding:
    group = UNBUILT.get(kind)
    if group == "security.istio.io":
        return Finding(
            Severity.ERROR, "KindNotSupported", name, "", f"{kind} is not enforced by this version", "do not rely on it"
        )
    return Finding(
        Severity.WARNING,
        "KindNotSupported",
        name,
        "",
        f"{kind} has no effect in this version",
        "remove it, or ignore this",
    )
