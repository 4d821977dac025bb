"""The records that clusters leave for each other in etcd, as protobuf. The Python modules here are generated
(`scripts/generate-protos`).
"""
