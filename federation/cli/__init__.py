"""The `isthmus` command's parts that need nothing but the federation: mesh, clusters, services, lab."""
