"""What all clusters of a mesh share: the nouns, the records in etcd, and what they decide from them.

Imports nothing else of ours. Knows no Envoy protobuf and no Kubernetes type.
"""
