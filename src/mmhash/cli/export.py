"""``mmhash export``: codes and labels as Parquet, and for PostgreSQL or Milvus."""

import argparse
from pathlib import Path


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``export`` to the commands."""
    export = commands.add_parser(
        "export",
        help="write codes and labels as Parquet, and for PostgreSQL (pgvector) or Milvus",
        description="Write the items that predictions search to FOLDER/codes.parquet: code, "
        "labels, caption, picture. --for adds what an engine loads, --load loads it there, into a "
        "schema or collection called mmhash. An earlier export in FOLDER is replaced, anything "
        "else is left alone. Passwords: PGPASSWORD or ~/.pgpass; MILVUS_TOKEN.",
        epilog="example: mmhash export codes\n"
        "example: mmhash export codes --for pgvector\n"
        "example: mmhash export codes --for pgvector --load postgresql://me@localhost/pictures\n"
        "example: mmhash export codes --for milvus --load http://localhost:19530",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    export.add_argument("folder", metavar="FOLDER", type=Path)
    export.add_argument("--for", dest="engine", choices=("pgvector", "milvus"))
    export.add_argument(
        "--load", metavar="ADDRESS", help="of a running server, which gets the rows"
    )


def export(folder: Path, engine: str | None, address: str | None) -> None:
    """Write the export of the run in the working directory; load it where an address is given.

    Raises InputError for an incomplete run, a foreign folder, or a server that refuses.
    """
    from mmhash.collection import open_collection
    from mmhash.export.rows import export_rows
    from mmhash.export.write import write_export

    manifest = write_export(export_rows(open_collection()), folder, engine)
    size = sum(file["bytes"] for file in manifest["files"].values())
    print(
        f"{folder}: {manifest['items']:,} items with codes of {manifest['bits']} bits, "
        f"{len(manifest['files'])} files, {size:,} bytes"
    )
    for note in manifest["notes"]:
        print(f"note: {note}")
    if engine is None:
        return
    if address is None:
        print(
            f"load it: cd {folder / engine} && psql DATABASE -f load.sql"
            if engine == "pgvector"
            else f"load it: mmhash export {folder} --for milvus --load http://localhost:19530"
        )
        return
    loaded = _load(engine, folder, address)
    print(f"{engine}: {loaded:,} items loaded into mmhash")


def _load(engine: str, folder: Path, address: str) -> int:
    if engine == "pgvector":
        from mmhash.export import pgvector

        with pgvector.connect(address) as connection:
            return pgvector.load(connection, folder)
    from mmhash.export import milvus

    return milvus.load(milvus.connect(address), folder)
