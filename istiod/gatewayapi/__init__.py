"""The Kubernetes Gateway API, translated: its tables -> Istio's Gateways, VirtualServices and DestinationRules beside
those of users, and status conditions as values. Pure. Knows no proxy and no Envoy; `resolve` decides who serves what.
"""
