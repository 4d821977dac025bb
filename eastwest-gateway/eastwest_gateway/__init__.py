"""One east-west gateway: runs its Envoy, announces its address under a lease, follows its health, drains. Imports no istiod."""
