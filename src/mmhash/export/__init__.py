"""Codes and labels for engines that people already run: Parquet, PostgreSQL (pgvector), Milvus."""
