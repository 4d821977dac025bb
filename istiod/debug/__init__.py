"""HTTP endpoints of istiod: health, metrics, status, debug views."""
