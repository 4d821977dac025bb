"""An east-west gateway: an Envoy that passes mutual TLS on between networks, with the supervisor that runs it.

Meets control planes over gRPC and the other clusters through the shared store; imports no istiod.
"""
