"""Which trust domains a mesh has, and which a policy means when it names one. Pure.

Rules: Istio's trust domain aliases (a principal of the mesh's own domain or of an alias stands for all of them), and
its pointer `cluster.local`, which is the mesh's own domain whatever that is called. Here each cluster has a trust
domain of its own, so the pointer stands for those of the other clusters as well, and one policy means the same in
every cluster. A domain that is named itself is meant alone: `west.mesh/ns/…` never lets in another cluster.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from istiod.api.meshconfig import MeshConfig
from istiod.memo import memo
from istiod.snapshot import Snapshot

POINTER = "cluster.local"
SPIFFE_PARTS = 5  # <domain>/ns/<namespace>/sa/<account>


@dataclass(frozen=True, slots=True)
class TrustDomains:
    """The local domain with its aliases, and those of the other clusters of the mesh."""

    own: tuple[str, ...]
    peers: tuple[str, ...] = ()

    @property
    def every(self) -> tuple[str, ...]:
        """All domains whose workloads are of the mesh; certificates of others are not taken for mutual TLS."""
        return tuple(dict.fromkeys((*self.own, *self.peers)))

    def meant_by(self, domain: str) -> tuple[str, ...]:
        """The domains that a policy's domain stands for; one with a `*` stays as it is."""
        if domain == POINTER:
            return self.every
        if domain in self.own:
            return self.own
        return (domain,)

    def expand_principals(self, principals: Iterable[str]) -> tuple[str, ...]:
        """Principals in every domain that is meant; those that are no whole identity, or of any domain, stay."""
        return tuple(dict.fromkeys(found for one in principals for found in self._expand(one)))

    def _expand(self, principal: str) -> tuple[str, ...]:
        domain, _, rest = principal.partition("/")
        if domain == "*" or principal.count("/") != SPIFFE_PARTS - 1:
            return (principal,)
        return tuple(f"{one}/{rest}" for one in self._meant_by_ending(domain) or self.meant_by(domain))

    def _meant_by_ending(self, domain: str) -> tuple[str, ...]:
        """In a principal `*ending` stands for all of the own domains once one of them ends so; () if none does."""
        fits = [own for own in self.own if domain.startswith("*") and own.endswith(domain[1:])]
        return (domain, *(own for own in self.own if own not in fits)) if fits else ()


def trust_domains(snapshot: Snapshot) -> TrustDomains:
    """The trust domains of the mesh as a snapshot knows them, the same object while they are the same."""
    return _domains(snapshot.mesh, snapshot.peer_domains)


@memo()
def _domains(mesh: MeshConfig, peers: tuple[str, ...]) -> TrustDomains:
    own = tuple(dict.fromkeys((mesh.trust_domain, *mesh.trust_domain_aliases)))
    return TrustDomains(own, tuple(domain for domain in peers if domain not in own))
