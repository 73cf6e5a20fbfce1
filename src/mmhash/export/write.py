"""Write an export: ``codes.parquet``, ``categories.json``, what an engine loads, the manifest."""

from pathlib import Path
from typing import Any

from mmhash.export import milvus, pgvector
from mmhash.export.folder import FORMAT, replaced, write_manifest
from mmhash.export.rows import Rows
from mmhash.files import write_json, write_table

BIT_ORDER = "bit j of a code lies in byte j // 8 at the place 2^(j mod 8), as in FAISS"
ENGINES = {"pgvector": pgvector.write_files, "milvus": milvus.write_files}


def write_export(rows: Rows, folder: Path, engine: str | None = None) -> dict[str, Any]:
    """Write ``rows`` to ``folder``, with what ``engine`` loads; return the manifest.

    Its ``notes`` say what had to be changed for the engine, a line each. Raises InputError where
    ``folder`` holds anything but an earlier export, which is replaced.
    """
    with replaced(folder) as new:
        write_table(new / "codes.parquet", rows.table)
        write_json(new / "categories.json", rows.categories)
        notes = ENGINES[engine](rows, new / engine) if engine else []
        facts = {
            "format": FORMAT,
            "engine": engine,
            "items": rows.table.num_rows,
            "bits": rows.bits,
            "bit_order": BIT_ORDER,
            **rows.origin,
            "notes": notes,
        }
        return write_manifest(new, facts)
