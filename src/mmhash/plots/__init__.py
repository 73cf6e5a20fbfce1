"""Pictures of a run: small tables for ``dvc plots`` and the same as PNG."""
