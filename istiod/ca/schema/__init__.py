"""Istio's CSR service as protobuf. The Python modules here are generated (`scripts/generate-protos`)."""
