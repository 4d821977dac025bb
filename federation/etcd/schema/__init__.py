"""The part of etcd's version 3 wire protocol that we speak, as protobuf. The Python modules here are generated (`scripts/generate-protos`)."""
