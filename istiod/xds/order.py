"""The order in which types are sent, so that nothing refers to what the client does not have. Pure.

New things come from the bottom (upstreams, their endpoints, listeners, routes, secrets); old things go from the top: an
upstream is removed only when no listener or route that could name it is still on its way.
"""

from __future__ import annotations

from istiod.encode.resource import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET

SENDING = (CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET)
WILDCARD = frozenset({CLUSTER, LISTENER})

# Removals of a type wait until these types have nothing on its way.
REMOVED_AFTER = {
    CLUSTER: (LISTENER, ROUTES),
    ENDPOINTS: (LISTENER, ROUTES),
    LISTENER: (),
    ROUTES: (LISTENER,),
    SECRET: (CLUSTER, LISTENER),
}
