"""Certificates of the mesh: keys, signing requests, roots, intermediates and leaves. Pure but for making keys.

Knows no cluster and no store: names, lifetimes and the time are arguments. PEM bytes go in and out.
"""
