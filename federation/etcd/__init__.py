"""A thin asynchronous etcd v3 client: what the mesh needs of its store, robust against its failures.

Knows nothing of the mesh's keys and records. Only the federation's shells use it.
"""

from federation.etcd.client import Etcd
from federation.etcd.errors import Compacted, NeverSent, StoreReplaced
from federation.etcd.lease import Lease, Leases
from federation.etcd.options import Options
from federation.etcd.values import (
    Compare,
    Delete,
    Event,
    Get,
    Header,
    Interrupted,
    KeyValue,
    Listing,
    Member,
    Permission,
    Put,
    Status,
    TxnResult,
    Watched,
)

__all__ = [
    "Compacted",
    "Compare",
    "Delete",
    "Etcd",
    "Event",
    "Get",
    "Header",
    "Interrupted",
    "KeyValue",
    "Lease",
    "Leases",
    "Listing",
    "Member",
    "NeverSent",
    "Options",
    "Permission",
    "Put",
    "Status",
    "StoreReplaced",
    "TxnResult",
    "Watched",
]
