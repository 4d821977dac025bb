"""The control plane of one cluster: reads its sources, freezes a snapshot, configures its proxies, signs their
certificates.
"""
