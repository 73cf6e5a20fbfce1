"""Rows of a study against their baseline: figures over seeds, tables, search cost."""
