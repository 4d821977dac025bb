"""Decides what each class of proxies gets: snapshot + view -> specs. Pure; builds no protobuf (that is
`istiod.encode`).
"""
