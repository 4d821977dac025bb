"""BackendTLSPolicy: TLS towards a Service, and what its certificate must be."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from istiod.api.fields import Model
from istiod.api.gatewayapi.references import LocalReference, check_hostname, check_length, check_object_name
from istiod.api.problems import Problem


class PolicyTarget(Model):
    """A Service in the same namespace, or one port of it by name."""

    group: str
    kind: str
    name: str
    section_name: str = ""


class SubjectAltName(Model):
    """A name that the certificate may have instead of the host."""

    type: str
    hostname: str = ""
    uri: str = ""


class BackendValidation(Model):
    """What the server must prove."""

    ca_certificate_refs: tuple[LocalReference, ...] = ()
    well_known_ca_certificates: str = Field(default="", alias="wellKnownCACertificates")
    hostname: str
    subject_alt_names: tuple[SubjectAltName, ...] = ()


class BackendTLSPolicy(Model):
    """gateway.networking.k8s.io BackendTLSPolicy."""

    target_refs: tuple[PolicyTarget, ...]
    validation: BackendValidation
    options: dict[str, str] = {}


def validate(policy: BackendTLSPolicy) -> Iterator[Problem]:
    """The rules of the CRD beyond types."""
    yield from check_length(policy.target_refs, 16, "spec.targetRefs", 1)
    yield from check_length(tuple(policy.options), 16, "spec.options")
    seen: list[tuple[str, str, str, str]] = []
    for index, target in enumerate(policy.target_refs):
        at = f"spec.targetRefs[{index}]"
        yield from check_object_name(target.name, f"{at}.name")
        if not target.kind:
            yield Problem(f"{at}.kind", "is empty", "name a kind")
        key = (target.group, target.kind, target.name, target.section_name)
        if key in seen:
            yield Problem(at, f"{target.name[:80]!r} is listed twice", "give each another sectionName")
        elif any(key[:3] == other[:3] and not (key[3] and other[3]) for other in seen):
            yield Problem(at, f"{target.name[:80]!r} is also listed as a whole", "give each another sectionName")
        seen.append(key)
    yield from _validation(policy.validation, "spec.validation")


def _validation(said: BackendValidation, path: str) -> Iterator[Problem]:
    yield from check_hostname(said.hostname, f"{path}.hostname", wildcard=False)
    yield from check_length(said.ca_certificate_refs, 8, f"{path}.caCertificateRefs")
    yield from check_length(said.subject_alt_names, 5, f"{path}.subjectAltNames")
    if said.ca_certificate_refs and said.well_known_ca_certificates:
        yield Problem(path, "has both caCertificateRefs and wellKnownCACertificates", "keep one of them")
    if not said.ca_certificate_refs and not said.well_known_ca_certificates:
        yield Problem(path, "has neither caCertificateRefs nor wellKnownCACertificates", "give one of them")
    if said.well_known_ca_certificates not in ("", "System"):
        at = f"{path}.wellKnownCACertificates"
        yield Problem(at, f"{said.well_known_ca_certificates[:80]!r} is unknown", "use System")
    for index, reference in enumerate(said.ca_certificate_refs):
        yield from check_object_name(reference.name, f"{path}.caCertificateRefs[{index}].name")
    for index, name in enumerate(said.subject_alt_names):
        at = f"{path}.subjectAltNames[{index}]"
        if name.type not in ("Hostname", "URI"):
            yield Problem(f"{at}.type", f"{name.type[:80]!r} is none of Hostname, URI", "use one of them")
            continue
        wanted, other = ("hostname", "uri") if name.type == "Hostname" else ("uri", "hostname")
        if not getattr(name, wanted):
            yield Problem(f"{at}.{wanted}", f"is missing for type {name.type}", "give it", "MissingField")
        elif wanted == "hostname":
            yield from check_hostname(name.hostname, f"{at}.hostname")
        if getattr(name, other):
            yield Problem(f"{at}.{other}", f"is given for type {name.type}", "remove it")
