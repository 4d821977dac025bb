"""The nouns of the mesh as immutable values: names, identities, labels, localities, services, endpoints, findings.

Pure data with text forms. Knows nothing of where a value was read or which proxy will see it.
"""
