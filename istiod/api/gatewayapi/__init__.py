"""The kinds of the Kubernetes Gateway API (gateway.networking.k8s.io), one module each, with the rules of its CRDs."""
