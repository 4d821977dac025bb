"""Rules for the values in an AuthorizationPolicy: addresses, ports, paths, accounts, and texts with a `*`. Pure.

Each check gets the values of one field and its path, and names every value that is wrong. Rules: Istio's validator;
path templates: the syntax that Envoy's `uri_template` takes (it does not refuse another one, it crashes).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from federation.model.findings import Severity
from istiod.api.problems import Problem, is_network

MAX_ACCOUNTS = 16
MAX_ACCOUNT_LENGTH = 320
MAX_STARS = 3
MAX_NAMESPACE = 63
ONE, ANY = "{*}", "{**}"
_SEGMENT = re.compile(r"[a-zA-Z0-9\-._~%!$&'()+,;:@=]+")  # a literal segment of a template (RFC 3986 pchar without *)
_NAMESPACE = re.compile(r"[-a-z0-9*]+")
_METHOD = re.compile(r"[a-z]+")


def check_given(values: Iterable[str], path: str) -> Iterator[Problem]:
    """No value is empty."""
    for index, value in enumerate(values):
        if not value:
            yield Problem(f"{path}[{index}]", "is empty", "give a value, or remove it")


def check_namespaces(values: Iterable[str], path: str) -> Iterator[Problem]:
    """Names of namespaces, in which a `*` may stand anywhere. Envoy takes no pattern that is much longer."""
    for index, value in enumerate(values):
        at = f"{path}[{index}]"
        if len(value) > MAX_NAMESPACE:
            yield Problem(at, f"{value[:80]!r} is no namespace", f"use at most {MAX_NAMESPACE} characters")
        elif value and not _NAMESPACE.fullmatch(value):
            message, fix = f"{value!r} is the name of no namespace", "use lower case letters, digits and '-'"
            yield Problem(at, message, fix, severity=Severity.WARNING)
        elif value.count("*") > MAX_STARS:
            yield Problem(at, f"{value[:80]!r} has more than {MAX_STARS} '*'", "name the namespaces")


def check_trust_domains(values: tuple[str, ...], path: str) -> Iterator[Problem]:
    """Names of trust domains, which are one part of an identity; a `*` as everywhere."""
    for index, value in enumerate(values):
        if "/" in value:
            yield Problem(f"{path}[{index}]", f"{value[:80]!r} is no trust domain", "leave out what is behind the /")
    yield from check_wildcards(values, path)


def check_wildcards(values: Iterable[str], path: str) -> Iterator[Problem]:
    """A `*` means something at one end only; elsewhere it is an ordinary character, which is hardly meant."""
    for index, value in enumerate(values):
        if "*" in (value[1:] if value.startswith("*") else value[:-1]):
            yield Problem(
                f"{path}[{index}]",
                f"{value[:80]!r} has a '*' that stands for itself",
                "use it at the beginning or at the end, not at both",
                "LiteralWildcard",
                Severity.WARNING,
            )


def check_addresses(values: Iterable[str], path: str) -> Iterator[Problem]:
    """Addresses and CIDRs; a netmask is no length, and a zone means nothing to others."""
    for index, value in enumerate(values):
        length = value.partition("/")[2]
        good = is_network(value) and "%" not in value and (not length or length.isdecimal())
        if value and not good:
            message = f"{value[:80]!r} is neither an IP address nor a CIDR"
            yield Problem(f"{path}[{index}]", message, "write 10.0.0.1 or 10.0.0.0/8")


def check_ports(values: Iterable[str], path: str) -> Iterator[Problem]:
    """Port numbers as text."""
    for index, value in enumerate(values):
        if value and not (value.isascii() and value.isdecimal() and len(value) <= 5 and int(value) <= 65535):
            yield Problem(f"{path}[{index}]", f"{value[:80]!r} is no port", "write a number up to 65535, in quotes")


def check_methods(values: Iterable[str], path: str) -> Iterator[Problem]:
    """Methods are compared as they are sent, which is in upper case."""
    for index, value in enumerate(values):
        if _METHOD.fullmatch(value):
            yield Problem(
                f"{path}[{index}]",
                f"{value[:80]!r} is the method of no request",
                f"write {value[:80].upper()}",
                "UnknownMethod",
                Severity.WARNING,
            )


def check_accounts(values: tuple[str, ...], path: str) -> Iterator[Problem]:
    """`account` or `namespace/account`."""
    if len(values) > MAX_ACCOUNTS:
        yield Problem(path, f"has more than {MAX_ACCOUNTS} entries", "write several rules")
    for index, value in enumerate(values):
        at = f"{path}[{index}]"
        if "*" in value:
            yield Problem(at, f"{value[:80]!r} has a wildcard, which accounts do not know", "name the account")
        elif not all(value.split("/")) or value.count("/") > 1:
            yield Problem(at, f"{value[:80]!r} is no service account", "write account or namespace/account")
        elif len(value) > MAX_ACCOUNT_LENGTH:
            yield Problem(at, f"has more than {MAX_ACCOUNT_LENGTH} characters", "write a shorter name")


def is_template(path: str) -> bool:
    """Whether a path is a template rather than a text with a `*` at one end."""
    return ONE in path or ANY in path


def check_paths(values: Iterable[str], path: str) -> Iterator[Problem]:
    """Paths, and templates that Envoy can read."""
    for index, value in enumerate(values):
        at = f"{path}[{index}]"
        wrong = _template_problem(value)
        if wrong:
            yield Problem(at, f"{value[:80]!r} is no path template: {wrong}", "write /users/{*}/mail or /files/{**}")
        elif not is_template(value):
            yield from (
                Problem(at, one.message, one.fix, one.code, one.severity) for one in check_wildcards((value,), path)
            )


def _template_problem(value: str) -> str:
    """What is wrong with a template, "" if nothing is. A text without operators must only be free of braces."""
    if not is_template(value):
        return "braces stand for {*} and {**} alone" if "{" in value or "}" in value else ""
    if not value.startswith("/"):
        return "it does not begin with '/'"
    segments = value[1:].removesuffix("/").split("/")
    last = segments.index(ANY) if ANY in segments else len(segments)
    for index, segment in enumerate(segments):
        if segment in (ONE, ANY):
            if index > last:
                return "{**} must be the last of its operators"
        elif not segment:
            return "it has an empty segment"
        elif "{" in segment or "}" in segment:
            return f"{segment[:40]!r} is not a whole segment"
        elif not _SEGMENT.fullmatch(segment):
            return f"segment {segment[:40]!r} has characters that a template may not have"
    return ""
