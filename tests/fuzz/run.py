"""Fuzzing from YAML to Envoy: no object may break the parser, the resolvers or the encoders, nor be refused by Envoy.

    scripts/fuzz --minutes 10 [--seed N]

Rounds of a few mutated objects on top of a small mesh. Each is parsed, resolved for a sidecar, two gateways and a gRPC
client, and encoded; everything of a round then goes to `envoy --mode validate`, but for EnvoyFilters: what they put is
Envoy's own and may be wrong in ways that Envoy alone can tell. What breaks is made as small as its objects allow, and
shown; it ends the run with code 1.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.fuzz.mutate import TESTS, Mutator
from tests.golden.conftest import Case, make_secret, read_case, write_whole

PROXIES: tuple[dict[str, Any], ...] = (
    {"proxy": {"name": "b", "namespace": "apps", "address": "10.0.0.2", "labels": {"app": "b", "version": "v1"}}},
    {"proxy": {"name": "gw", "namespace": "istio-system", "type": "router", "address": "10.0.0.9",
               "labels": {"istio": "ingressgateway"}}},
    {"proxy": {"name": "edge", "namespace": "apps", "type": "router", "address": "10.0.0.8",
               "labels": {"gateway.networking.k8s.io/gateway-name": "edge"}}},
    {"proxy": {"name": "g", "namespace": "apps", "address": "10.0.0.7"}, "metadata": {"GENERATOR": "grpc"}},
)  # fmt: skip
BASE = (TESTS / "sequences/pool/base.yaml").read_text()


def build(objects: Sequence[Any]) -> list[Case]:
    """What each proxy gets; whatever this raises is a bug."""
    text = BASE + "\n---\n" + yaml.safe_dump_all(objects)
    return [read_case(Path(), {**who, "show": {"cds": ["*"]}}, text) for who in PROXIES]


def refused(cases: Sequence[Case], envoy: Path) -> str:
    """What Envoy has to say against it; nothing is well."""
    for case in cases:
        with tempfile.TemporaryDirectory() as name:
            path = write_whole(case, Path(name), make_secret())
            command = [envoy, "--mode", "validate", "-c", path, "--log-level", "error"]
            judged = subprocess.run(command, cwd=name, capture_output=True, text=True, timeout=120, check=False)
            if judged.returncode:
                return (judged.stderr[-3000:] + judged.stdout[-1000:]).strip() or f"ended with {judged.returncode}"
    return ""


def broken(objects: Sequence[Any], envoy: Path) -> str:
    """Why these objects are a bug of ours; nothing is well."""
    judged = [item for item in objects if item.get("kind") != "EnvoyFilter"]
    try:
        cases = build(objects)
        return refused(cases if len(judged) == len(objects) else build(judged), envoy)
    except Exception:
        return traceback.format_exc()


def smallest(objects: list[Any], envoy: Path) -> list[Any]:
    """As few of the objects as still break something."""
    for item in list(objects):
        rest = [other for other in objects if other is not item]
        if rest and broken(rest, envoy):
            objects = rest
    return objects


def fuzz(seed: int, rounds: int | None, seconds: float, size: int, envoy: Path) -> tuple[int, list[Any], str]:
    """Rounds until the time is over or something broke: how many, the objects that did it, and how."""
    mutator = Mutator(random.Random(seed))
    end, done = time.monotonic() + seconds, 0
    while time.monotonic() < end and done != rounds:
        objects = [mutator.draw() for _ in range(size)]
        reason = broken(objects, envoy)
        if reason:
            objects = smallest(objects, envoy)
            return done, objects, broken(objects, envoy)
        done += 1
    return done, [], ""


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--size", type=int, default=8, help="objects a round")
    said = parser.parse_args()
    envoy = Path(sys.executable).parent / "envoy"
    done, objects, reason = fuzz(said.seed, None, said.minutes * 60, said.size, envoy)
    sys.stdout.write(
        f"seed {said.seed}: {done} rounds of {said.size} objects, {done * len(PROXIES)} configurations given to Envoy\n"
    )
    if not reason:
        return 0
    sys.stdout.write(f"{yaml.safe_dump_all(objects)}\n{reason}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
