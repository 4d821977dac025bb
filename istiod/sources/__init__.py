"""Where configuration comes from: files, the federation store, a Kubernetes API."""
