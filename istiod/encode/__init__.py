"""Turns specs into Envoy protobuf bytes: the only package that builds Envoy messages."""
