"""Founds the mesh of a lab and lets its clusters join, inside the store's namespace: `python -m
federation.lab.founding`.

Does what `isthmus init`, `cluster token create`, `authority approve` and `cluster join` do, by the same functions, in
one process: a lab is to be up in seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from federation.authority import Authority
from federation.etcd import Etcd
from federation.founding import connect, init_store
from federation.joining import join
from federation.lab.config import Cluster, trust_domain
from federation.lab.files import LabFiles
from federation.lab.state import Journal
from federation.model.errors import Conflict, IsthmusError, Unavailable
from federation.runtime import log as logs

TOKEN_SECONDS = 900.0
VERSION = "lab"
STORE_SECONDS = 20.0
POLL_SECONDS = 0.01


async def found(files: LabFiles, clusters: list[str]) -> None:
    """Set up the store and admit clusters, all at the same time. Raises IsthmusError."""
    config = Journal(files.journal).read().config
    async with connect(files.authority) as etcd:
        async with asyncio.timeout(STORE_SECONDS):
            await _init_when_there(etcd, config.mesh)
        authority = Authority(files.authority, etcd)
        async with asyncio.TaskGroup() as group:
            for cluster in config.clusters:
                if cluster.name in clusters:
                    group.create_task(_admit(authority, files, cluster, config.mesh))


async def _admit(authority: Authority, files: LabFiles, cluster: Cluster, mesh: str) -> None:
    """Both sides of one join: the token is made, used by the cluster, and its request answered as soon as it is
    there.
    """
    domain = trust_domain(mesh, cluster.name)
    token = await authority.create_token(cluster.name, cluster.network, cluster.region, domain, TOKEN_SECONDS)
    async with asyncio.TaskGroup() as group:
        joining = group.create_task(join(token, files.member(cluster.name), VERSION))
        while not joining.done():
            with suppress(Conflict):
                await authority.answer(token.id)
                return
            await asyncio.sleep(POLL_SECONDS)


async def _init_when_there(etcd: Etcd, mesh: str) -> None:
    while True:
        try:
            await init_store(etcd, mesh)
        except Unavailable:
            await asyncio.sleep(POLL_SECONDS)
        else:
            return


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def main() -> None:
    """Entry of `python -m federation.lab.founding`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lab", type=Path, required=True)
    parser.add_argument("clusters", nargs="+")
    said = parser.parse_args()
    logs.configure("warning")
    errors: list[BaseException] = []
    try:
        asyncio.run(found(LabFiles(said.lab), said.clusters))
    except* (IsthmusError, TimeoutError) as group:
        errors = list(_leaves(group))
    if errors:
        sys.exit("\n".join(str(error) or type(error).__name__ for error in errors))


if __name__ == "__main__":
    main()
