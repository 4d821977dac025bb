"""The order in which types are sent, so that nothing refers to what the client does not have. Pure.

New things come from the bottom (upstreams, their endpoints, listeners, routes, extensions, secrets); old things go from
the top: an upstream is removed only when the client has taken every listener and route that could name it.
"""

from __future__ import annotations

from istiod.encode.resource import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, SECRET

SENDING = (CLUSTER, ENDPOINTS, LISTENER, ROUTES, EXTENSION, SECRET)

# A client may ask for all of these at once. In state of the world their answers are complete: what is missing is gone.
WILDCARD = frozenset({CLUSTER, LISTENER})

# Removals of a type wait until the client has acknowledged all that it is to have of these types.
REMOVED_AFTER = {
    CLUSTER: (LISTENER, ROUTES),
    ENDPOINTS: (CLUSTER,),
    LISTENER: (),
    ROUTES: (LISTENER,),
    EXTENSION: (LISTENER,),
    SECRET: (CLUSTER, LISTENER),
}
