"""Milvus: codes as BINARY_VECTOR, compared by Hamming distance.

The folder holds ``rows.parquet``, in the types that Milvus's bulk import takes, and ``schema.json``
with the fields and the index. :func:`load` creates the collection and inserts the rows through
pymilvus.

Checked against pymilvus (its schema classes, its checks of rows, its bulk writer's file) and not
against a running server: Milvus Lite has no binary vectors.

The bytes of a code are those of FAISS. Milvus bounds texts to 65,535 bytes of UTF-8: longer
captions are cut, at a character.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmhash.errors import InputError
from mmhash.export.folder import check_export
from mmhash.export.rows import Rows
from mmhash.files import read_json, read_table, write_json, write_table
from mmhash.progress import track

if TYPE_CHECKING:
    from pymilvus import CollectionSchema, MilvusClient

COLLECTION = "mmhash"
MAX_TEXT = 65_535  # bytes of a VARCHAR, the most that Milvus allows
MAX_NAME = 1_024
MAX_LABELS = 4_096  # the most that Milvus allows in an ARRAY
BATCH_ROWS = 1_000
BATCH_BYTES = 8 << 20  # a message to the server may have 64 MiB
PATIENCE = 10.0  # seconds for a server to answer
EXACT, CELLS = "BIN_FLAT", "BIN_IVF_FLAT"
EXACT_ITEMS = 1_000_000  # BIN_FLAT up to here; BIN_IVF_FLAT with 4 √n cells above


def describe(bits: int, items: int) -> dict[str, Any]:
    """Return fields and index for ``items`` codes of ``bits`` bits; types by pymilvus' names."""
    text = {"type": "VARCHAR", "max_length": MAX_TEXT}
    name = {"type": "ARRAY", "element_type": "VARCHAR", "max_length": MAX_NAME}
    number = {"type": "ARRAY", "element_type": "INT32"}
    index = {"index_type": EXACT, "metric_type": "HAMMING", "params": {}}
    if items > EXACT_ITEMS:
        index |= {"index_type": CELLS, "params": {"nlist": min(65_536, int(4 * items**0.5))}}
    return {
        "collection": COLLECTION,
        "description": "image + caption codes of mmhash",
        "fields": [
            {"name": "item", "type": "INT64", "is_primary": True, "auto_id": False},
            {"name": "image_id", "type": "INT64"},
            {"name": "caption_number", "type": "INT32"},
            {"name": "picture", **text},
            {"name": "caption", **text},
            {"name": "category_ids", **number, "max_capacity": MAX_LABELS},
            {"name": "categories", **name, "max_capacity": MAX_LABELS},
            {"name": "code", "type": "BINARY_VECTOR", "dim": bits},
        ],
        "index": {"field_name": "code", **index},
    }


def write_files(rows: Rows, folder: Path) -> list[str]:
    """Write what the module describes to ``folder``; return what had to be changed.

    Raises InputError where an item has more labels, or a category a longer name, than fits.
    """
    folder.mkdir(parents=True)
    table, notes = rows.table, []
    most = pc.max(pc.list_value_length(table["category_ids"])).as_py() or 0
    if most > MAX_LABELS:
        raise InputError(f"an item has {most} labels; Milvus takes {MAX_LABELS} at most")
    for category in rows.categories:
        if len(category["name"].encode()) > MAX_NAME:
            raise InputError(
                f"the name of category {category['id']} is longer than {MAX_NAME} bytes; shorten it"
            )
    for name in ("picture", "caption"):
        texts, changed = _cut(table[name])
        table = table.set_column(table.schema.get_field_index(name), name, texts)
        if changed:
            notes.append(f"{changed} texts of {name} were cut to Milvus's {MAX_TEXT} bytes")
    place = table.schema.get_field_index("code")
    table = table.set_column(place, "code", _byte_lists(table["code"].combine_chunks()))
    write_table(folder / "rows.parquet", table)
    write_json(folder / "schema.json", describe(rows.bits, table.num_rows))
    return notes


def _cut(texts: pa.ChunkedArray) -> tuple[pa.Array, int]:
    """Return texts of at most MAX_TEXT bytes, and how many were longer."""
    long = pc.greater(pc.binary_length(texts), MAX_TEXT)
    count = int(pc.sum(long).as_py() or 0)
    if not count:
        return texts.combine_chunks(), 0
    cut = [text.encode()[:MAX_TEXT].decode(errors="ignore") for text in texts.to_pylist()]
    return pa.array(cut, pa.string()), count


def _byte_lists(codes: pa.FixedSizeBinaryArray) -> pa.ListArray:
    width = codes.type.byte_width
    starts = pa.array(np.arange(len(codes) + 1, dtype=np.int32) * width)
    return pa.ListArray.from_arrays(starts, pa.array(np.frombuffer(codes.buffers()[1], np.uint8)))


def collection_schema(described: dict[str, Any]) -> "CollectionSchema":
    """Return :func:`describe`'s fields as pymilvus' own schema, which checks them."""
    from pymilvus import CollectionSchema, DataType, FieldSchema

    fields = []
    for field in described["fields"]:
        known = {key: value for key, value in field.items() if key not in ("name", "type")}
        if "element_type" in known:
            known["element_type"] = DataType[known["element_type"]]
        fields.append(FieldSchema(field["name"], DataType[field["type"]], **known))
    return CollectionSchema(fields, description=described["description"])


def entities(table: pa.Table) -> list[dict[str, Any]]:
    """Return rows of ``rows.parquet`` as pymilvus inserts them: the code as bytes."""
    rows: list[dict[str, Any]] = table.to_pylist()
    for row in rows:
        row["code"] = bytes(row["code"])
    return rows


def batches(table: pa.Table) -> list[pa.Table]:
    """Cut rows into pieces of at most BATCH_ROWS rows and about BATCH_BYTES bytes."""
    size = sum(
        pc.binary_length(table[name]).to_numpy().astype(np.int64) for name in ("caption", "picture")
    )
    group = np.maximum(np.cumsum(size) // BATCH_BYTES, 0)
    starts = np.union1d(
        np.arange(0, table.num_rows, BATCH_ROWS), np.flatnonzero(np.diff(group)) + 1
    ).astype(int)
    ends = [*starts[1:].tolist(), table.num_rows]
    return [
        table.slice(start, end - start) for start, end in zip(starts.tolist(), ends, strict=True)
    ]


def connect(address: str) -> "MilvusClient":
    """Connect to ``http://host:19530`` with the token in MILVUS_TOKEN, if one is set.

    Raises InputError where pymilvus is not installed or the server does not answer.
    """
    import os

    try:
        from pymilvus import MilvusClient, MilvusException
    except ImportError:
        raise InputError(
            "pymilvus is not installed; pip install -r requirements-export.txt"
        ) from None
    try:
        return MilvusClient(address, token=os.environ.get("MILVUS_TOKEN", ""), timeout=PATIENCE)
    except MilvusException as error:
        raise InputError(f"Milvus at {address}: {error.message}") from None


def load(client: "MilvusClient", folder: Path) -> int:
    """Load an export for Milvus into a new collection; return the number of items.

    Raises InputError where the collection ``mmhash`` exists already, and for whatever the server
    refuses; a collection that is not full is dropped, after Ctrl-C too.
    """
    from pymilvus import MilvusException

    files = check_export(folder, "milvus")
    described = read_json(files / "schema.json")
    table = read_table(files / "rows.parquet")
    name = described["collection"]
    try:
        if client.has_collection(name):
            raise InputError(f"Milvus has a collection {name} already; drop or rename it first")
        client.create_collection(name, schema=collection_schema(described))
        try:
            pieces = batches(table)
            for piece in track(pieces, len(pieces), "rows", "batch"):
                client.insert(name, entities(piece))
            client.flush(name)
            index = client.prepare_index_params()
            index.add_index(**described["index"])
            client.create_index(name, index)
            client.load_collection(name)
        except BaseException:
            client.drop_collection(name)
            raise
    except MilvusException as error:
        raise InputError(f"Milvus: {error.message}") from None
    return table.num_rows
