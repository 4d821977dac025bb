"""Istio's rules beyond types for the kinds whose rules are many: what its validator refuses, and what it warns of."""
