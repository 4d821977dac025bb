"""The part of etcd's v3 wire protocol that we speak, as protobuf. The modules here are generated."""
