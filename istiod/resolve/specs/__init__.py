"""Specs: everything an encoder may know about one Envoy resource, as hashable values.

An encoder takes exactly one spec, so the spec is the cache key: equal specs are equal bytes. Durations are seconds,
absent values None. Specs say *what* in Envoy's terms; *why* was decided in `istiod.resolve`.
"""
