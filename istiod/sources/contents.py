"""Texts of files -> events, as a difference to what was said before. Pure; `sources.files` reads the files.

Owns which file speaks for an object that stands in several: the first by path, so the answer never depends on the
order in which files came. An object that cannot be used is absent, and its file says so. A document that stays as it is
is not parsed again. MeshConfig and MeshNetworks are the exception to absence: of a broken one only a finding is said,
because a mesh without its trust domain is no mesh; a control plane that starts with a broken one stays unready.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

from federation.model.findings import Finding, Severity
from federation.model.names import NamespacedName
from istiod.api.document import Document, split_documents
from istiod.api.kinds import Kind
from istiod.api.meta import AnyObject, Invalid, Object
from istiod.api.parse import Parsed, parse_mesh_config, parse_mesh_networks, parse_one
from istiod.events import MESH_KEY, Delete, Event, Findings, Upsert

Key = tuple[Kind, NamespacedName]
Usable = Object[object] | Invalid


@dataclass(frozen=True, slots=True)
class _File:
    """One file as parsed. `documents` are kept by digest for the next version of the file."""

    documents: dict[bytes, Parsed] = field(default_factory=dict)
    objects: dict[Key, Usable] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


_NO_FILE = _File()


class Contents:
    """All files of a configuration directory by name, and what they say together."""

    def __init__(self) -> None:
        self._files: dict[str, _File] = {}
        self._holders: dict[Key, list[str]] = {}  # names of the files with that object, sorted
        self._said: dict[Key, Usable] = {}
        self._said_findings: dict[str, tuple[Finding, ...]] = {}
        self._touched: set[Key] = set()
        self._changed: set[str] = set()

    def put(self, name: str, text: str, settled: bool = True) -> bool:
        """The file `name` has this text now; wrong parts of it become findings.

        Unless `settled`, a text in place of objects that is empty or no YAML is not taken (False): it may be half of
        what somebody is writing in place. Ask again with the same text when it has stayed so.
        """
        old = self._files.get(name, _NO_FILE)
        new = _parse(name, text, old.documents)
        if not settled and old.objects and (not text.strip() or _is_broken(new)):
            return False
        self._replace(name, new)
        return True

    def refuse(self, name: str, finding: Finding) -> None:
        """The file `name` cannot be read, for the reason of `finding`."""
        self._replace(name, _File(findings=(finding,)))

    def remove(self, name: str) -> None:
        """The file `name` is gone."""
        if name in self._files:
            self._replace(name, None)

    def events(self) -> list[Event]:
        """What differs from the last call; one batch."""
        events: list[Event] = []
        for key in sorted(self._touched):
            events += self._said_of(key)
        for name in sorted(self._changed):
            findings = tuple(self._findings(name))
            if findings != self._said_findings.get(name, ()):
                events.append(Findings(_source(name), findings))
                self._said_findings[name] = findings
                if not findings:
                    del self._said_findings[name]
        self._touched.clear()
        self._changed.clear()
        return events

    def _replace(self, name: str, new: _File | None) -> None:
        old = self._files.pop(name, _NO_FILE)
        if new is not None:
            self._files[name] = new
        objects = new.objects if new is not None else {}
        for key in old.objects.keys() - objects.keys():
            self._holders[key] = [holder for holder in self._holders[key] if holder != name]
            if not self._holders[key]:
                del self._holders[key]
        for key in objects.keys() - old.objects.keys():
            self._holders[key] = sorted([*self._holders.get(key, ()), name])
        for key in old.objects.keys() | objects.keys():
            if old.objects.get(key) is not objects.get(key):
                # the others that hold it may win or lose by this
                self._changed.update(self._holders.get(key, ()))
                self._touched.add(key)
        self._changed.add(name)

    def _said_of(self, key: Key) -> Iterator[Event]:
        holders = self._holders.get(key)
        value = self._files[holders[0]].objects[key] if holders else None
        if value is None and key in self._said:
            del self._said[key]
            yield Delete(*key)
        elif value is not None and self._said.get(key) != value:
            self._said[key] = value
            yield Upsert(*key, value)

    def _findings(self, name: str) -> Iterator[Finding]:
        file = self._files.get(name)
        if file is None:
            return
        yield from file.findings
        for key in sorted(key for key in file.objects if self._holders[key][0] != name):
            yield _duplicate(key, name, self._holders[key][0])


class MeshFile:
    """The MeshConfig or MeshNetworks file: text -> events."""

    def __init__(self, kind: Kind, name: str, defaults: str = "resilient") -> None:
        self._kind = kind
        self._name = name
        self._defaults = defaults
        self._text: str | None = None
        self._said: object = None
        self._said_findings: tuple[Finding, ...] = ()

    @property
    def known(self) -> bool:
        """Whether a usable one was ever read."""
        return self._said is not None

    def put(self, text: str) -> list[Event]:
        """What differs now that the file has this text. A blank one is refused: it may be about to be written."""
        if text == self._text:
            return []
        self._text = text
        if not text.strip():
            return self._say(None, (unreadable(self._name, "is empty", "write {} for the defaults"),))
        if self._kind is Kind.MESH_CONFIG:
            return self._say(*parse_mesh_config(text, self._name, self._defaults))
        return self._say(*parse_mesh_networks(text, self._name))

    def refuse(self, finding: Finding) -> list[Event]:
        """What differs now that the file cannot be read."""
        self._text = None
        return self._say(None, (finding,))

    def _say(self, value: object, findings: tuple[Finding, ...]) -> list[Event]:
        events: list[Event] = []
        if value is not None and value != self._said:
            events.append(Upsert(self._kind, MESH_KEY, value))
            self._said = value
        if findings != self._said_findings:
            events.append(Findings(_source(self._name), findings))
            self._said_findings = findings
        return events


def unreadable(name: str, reason: str, fix: str = "make it a readable UTF-8 file") -> Finding:
    """The finding for a file that cannot be read as text."""
    return Finding(Severity.ERROR, "FileUnreadable", f"File {name}", "", reason, fix)


def _is_broken(file: _File) -> bool:
    return any(finding.code == "NotYaml" for finding in file.findings)


def _source(name: str) -> str:
    return f"file {name}"


def _parse(name: str, text: str, known: dict[bytes, Parsed]) -> _File:
    documents: dict[bytes, Parsed] = {}
    objects: dict[Key, Usable] = {}
    findings: list[Finding] = []
    for document in split_documents(text):
        digest = _digest(document)
        parsed = documents.get(digest) or known.get(digest) or parse_one(document, name)
        if not any(finding.code == "NotYaml" for finding in parsed.findings):  # those hold line numbers
            documents[digest] = parsed
        findings += parsed.findings
        for item in parsed.objects:
            findings += _add(objects, item, name)
    return _File(documents, objects, tuple(findings))


def _digest(document: Document) -> bytes:
    return blake2b(document.text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _add(objects: dict[Key, Usable], item: AnyObject, name: str) -> Iterator[Finding]:
    if not isinstance(item, Object | Invalid):
        return
    key = (Kind(item.kind), item.meta.key)
    if key in objects:
        yield _duplicate(key, name, name)
    else:
        objects[key] = item


def _duplicate(key: Key, name: str, winner: str) -> Finding:
    kind, where = key
    named = f"{kind} {where}" if where.namespace else f"{kind} {where.name}"
    message = (
        f"stands twice in {name}; the first counts"
        if winner == name
        else f"in {name} is also in {winner}, which counts"
    )
    return Finding(Severity.ERROR, "DuplicateObject", named, "", message, "keep one of them")
