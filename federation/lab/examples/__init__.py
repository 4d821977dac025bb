"""Examples that a lab can be started with: a lab.yaml, and files with objects to apply one after the other.

Each is a folder beside this module. `${jwks}` in a file becomes the public key of an issuer made for this lab; its
tokens are written beside the files, its private key is thrown away.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from string import Template

from cryptography.hazmat.primitives.asymmetric import ec

from federation.lab.config import LabConfig, load_config
from federation.model.errors import InvalidInput
from federation.model.findings import Finding, Severity
from federation.pki.keys import generate_key
from federation.pki.token import base64url, sign_es256
from federation.runtime.atomic import write_atomic

HERE = Path(__file__).parent
LAB_FILE = "lab.yaml"
ISSUER = "testing@isthmus.example"
DAY = 86_400


def example_names() -> list[str]:
    """The examples that there are."""
    return sorted(path.parent.name for path in HERE.glob(f"*/{LAB_FILE}"))


def example_config(name: str) -> LabConfig:
    """The lab that an example needs; raises InvalidInput for an unknown one."""
    if name not in example_names():
        fix = f"one of {', '.join(example_names())}"
        raise InvalidInput([Finding(Severity.ERROR, "NoExample", f"Example {name}", "", "is not there", fix)])
    return load_config(HERE / name / LAB_FILE)


def write_example(name: str, directory: Path) -> list[Path]:
    """Write an example's files and the tokens of its issuer; returns the files that can be applied."""
    jwks, tokens = _issuer(time.time())
    written = []
    for source in sorted((HERE / name).glob("*.yaml")):
        if source.name != LAB_FILE:
            written.append(directory / source.name)
            write_atomic(written[-1], Template(source.read_text()).safe_substitute(jwks=jwks).encode(), 0o644)
    for file, token in tokens.items():
        write_atomic(directory / file, f"{token}\n".encode(), 0o644)
    return written


def _issuer(now: float) -> tuple[str, Mapping[str, str]]:
    """The keys of a new issuer as JWKS, and tokens: one that is good for a day, one that has expired, one of another
    issuer.
    """
    key, other = generate_key(), generate_key()
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    numbers = key.public_key().public_numbers()
    public = {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "lab",
              "x": base64url(numbers.x.to_bytes(32)), "y": base64url(numbers.y.to_bytes(32))}  # fmt: skip
    claims = {"iss": ISSUER, "sub": "alice", "groups": ["readers"], "iat": int(now), "exp": int(now) + DAY}
    expired = {**claims, "iat": int(now) - 2 * DAY, "exp": int(now) - DAY}
    tokens = {
        "token": sign_es256(key, json.dumps(claims).encode(), "lab"),
        "token-expired": sign_es256(key, json.dumps(expired).encode(), "lab"),
        "token-forged": sign_es256(other, json.dumps(claims).encode(), "lab"),
    }
    return json.dumps({"keys": [public]}), tokens
