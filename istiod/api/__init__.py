"""The objects that people write: one module per kind, with its fields, its rules and its findings. Pure."""
