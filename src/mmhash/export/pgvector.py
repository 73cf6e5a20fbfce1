"""PostgreSQL with pgvector: codes as ``bit(B)``, compared by Hamming distance (``<~>``).

The folder holds ``schema.sql`` (tables), ``*.copy`` (their rows in COPY's text format),
``indexes.sql`` (keys, an HNSW index and a function that votes) and ``load.sql``, which psql runs to
load all of it in one transaction. :func:`load` does the same through psycopg.

Bit j of a code is character j of its bit string from the left, from 0, which is also what
PostgreSQL's ``get_bit(code, j)`` returns. Any order would give the same distances; the query has to
use the same one (:func:`bit_strings`).

An HNSW index returns near items, not surely the nearest, and no more than ``hnsw.ef_search`` (40
unless set) of them. ``ORDER BY code <~> query LIMIT k`` uses it. No index serves
``ORDER BY (code <~> query) + 0, item LIMIT k``: every item is compared, and since Hamming distances
tie almost always, ``item`` makes the order unique.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmhash.codes import unpack
from mmhash.errors import InputError
from mmhash.export.folder import check_export
from mmhash.export.rows import Rows
from mmhash.files import atomic_path, write_text
from mmhash.progress import track

if TYPE_CHECKING:
    import psycopg

PIECE = 1 << 20  # bytes that COPY takes at once

TABLES = {
    "categories": ("id", "name"),
    "items": ("item", "image_id", "caption_number", "picture", "caption", "code"),
    "item_categories": ("item", "category"),
}

SCHEMA = """\
-- Tables of an mmhash export. All lie in a schema of their own, which
--   DROP SCHEMA mmhash CASCADE;
-- takes away again; while it is there, loading stops here.
CREATE EXTENSION IF NOT EXISTS vector;
CREATE SCHEMA mmhash;
CREATE TABLE mmhash.categories (
    id integer NOT NULL,
    name text NOT NULL
);
CREATE TABLE mmhash.items (
    item bigint NOT NULL,            -- row of the index
    image_id bigint NOT NULL,
    caption_number integer NOT NULL, -- the caption the code was made with; -1: the mean of all
    picture text NOT NULL,           -- folder/file, '' without pictures
    caption text NOT NULL,
    code bit({bits}) NOT NULL           -- get_bit(code, j) is bit j
);
CREATE TABLE mmhash.item_categories (
    item bigint NOT NULL,
    category integer NOT NULL
);
"""

INDEXES = """\
-- Keys and indexes, made after the rows are in, which takes a fraction of the time.
ALTER TABLE mmhash.categories ADD PRIMARY KEY (id);
ALTER TABLE mmhash.items ADD PRIMARY KEY (item);
ALTER TABLE mmhash.item_categories ADD PRIMARY KEY (item, category);
ALTER TABLE mmhash.item_categories ADD FOREIGN KEY (item) REFERENCES mmhash.items;
ALTER TABLE mmhash.item_categories ADD FOREIGN KEY (category) REFERENCES mmhash.categories;
CREATE INDEX ON mmhash.items (image_id);
CREATE INDEX ON mmhash.item_categories (category);
CREATE INDEX items_code_hnsw ON mmhash.items USING hnsw (code bit_hamming_ops);

-- The tags of a query: its k nearest items vote with weight softmax((1 - distance / B) / tau), and
-- items tied at the k-th distance share the places left, as knn.voting=softmax, knn.ties=expected
-- and knn.distance=hamming do. Every item is compared.
CREATE FUNCTION mmhash.tags(query bit, k integer, tau double precision)
RETURNS TABLE (category text, score double precision) LANGUAGE sql STABLE AS $$
    WITH compared AS MATERIALIZED (
        SELECT item, code <~> query AS distance FROM mmhash.items
    ), shells AS (
        SELECT distance, count(*) AS size, sum(count(*)) OVER (ORDER BY distance) AS reached
        FROM compared GROUP BY distance
    ), shares AS (
        SELECT distance, size,
               (least(reached, k) - (reached - size)) / size::double precision
               * exp((min(distance) OVER () - distance) / (length(query) * tau)) AS weight
        FROM shells WHERE reached - size < k
    )
    SELECT named.name, sum(weight) / (SELECT sum(size * weight) FROM shares)
    FROM shares
    JOIN compared USING (distance)
    JOIN mmhash.item_categories AS label USING (item)
    JOIN mmhash.categories AS named ON named.id = label.category
    GROUP BY named.id, named.name
    ORDER BY 2 DESC, named.id
$$;
"""

LOAD = """\
-- In this folder: psql DATABASE -f load.sql. All is loaded, or nothing.
\\set ON_ERROR_STOP on
SET client_encoding = 'UTF8';
BEGIN;
\\ir schema.sql
{copies}
\\ir indexes.sql
COMMIT;
ANALYZE {tables};
"""


def bit_strings(codes: np.ndarray) -> np.ndarray:
    """Return packed codes (n, B / 8) uint8 as (n,) strings of B characters 0 and 1, bit 0 first."""
    bits = np.ascontiguousarray(unpack(codes) + ord("0"))
    return bits.view(f"S{bits.shape[1]}")[:, 0].astype(str)


def escaped(texts: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    r"""Return texts as COPY's text format takes them.

    A backslash and the characters that end a field or a row get a backslash, by which neither
    ``\.`` (end of data) nor ``\N`` (NULL) can appear. U+0000, which PostgreSQL's text cannot hold,
    becomes U+FFFD.
    """
    changes = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\ufffd"}
    for character, written in changes.items():
        texts = pc.replace_substring(texts, character, written)
    return texts


def write_files(rows: Rows, folder: Path) -> list[str]:
    """Write what the module describes to ``folder``; return what had to be changed."""
    table = rows.table
    folder.mkdir(parents=True)
    write_text(folder / "schema.sql", SCHEMA.format(bits=rows.bits))
    write_text(folder / "indexes.sql", INDEXES)
    copies = "\n".join(
        f"\\copy {_target(name)} FROM '{name}.copy' (ENCODING 'UTF8')" for name in TABLES
    )
    tables = ", ".join(f"mmhash.{name}" for name in TABLES)
    write_text(folder / "load.sql", LOAD.format(copies=copies, tables=tables))
    identifiers = pa.array([category["id"] for category in rows.categories], pa.int32())
    names = pa.array([category["name"] for category in rows.categories], pa.string())
    _write_copy(folder / "categories.copy", [identifiers, escaped(names)])
    raw = table["code"].combine_chunks()
    codes = np.frombuffer(raw.buffers()[1], np.uint8).reshape(len(raw), rows.bits // 8)
    texts = [escaped(table[name]) for name in ("picture", "caption")]
    numbers = [table[name] for name in ("item", "image_id", "caption_number")]
    _write_copy(folder / "items.copy", [*numbers, *texts, pa.array(bit_strings(codes))])
    labels = table["category_ids"].combine_chunks()
    owner = table["item"].combine_chunks().take(pc.list_parent_indices(labels))
    _write_copy(folder / "item_categories.copy", [owner, pc.list_flatten(labels)])
    changed = sum(
        pc.sum(pc.match_substring(texts, "\0")).as_py() or 0
        for texts in (table["caption"], table["picture"], names)
    )
    if not changed:
        return []
    return [f"U+0000, which PostgreSQL cannot hold, was replaced by U+FFFD in {changed} texts"]


def _target(table: str) -> str:
    return f"mmhash.{table} ({', '.join(TABLES[table])})"


def _write_copy(path: Path, columns: list[Any]) -> None:
    """Write columns as COPY's text format: a row a line, its fields parted by tabs."""
    texts = [pc.cast(column, pa.large_string()) for column in columns]
    tab, end, nothing = (pa.scalar(text, pa.large_string()) for text in ("\t", "\n", ""))
    lines = pc.binary_join_element_wise(pc.binary_join_element_wise(*texts, tab), nothing, end)
    chunks = lines.chunks if isinstance(lines, pa.ChunkedArray) else [lines]
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        for chunk in chunks:
            stream.writelines(text.as_buffer() for text in chunk)


def connect(address: str) -> "psycopg.Connection":
    """Connect to ``postgresql://…``; InputError where psycopg or the server is missing."""
    try:
        import psycopg
    except ImportError:
        raise InputError(
            "psycopg is not installed; pip install -r requirements-export.txt, or load "
            "pgvector/load.sql with psql"
        ) from None
    try:
        return psycopg.connect(address)
    except psycopg.Error as error:
        raise InputError(f"PostgreSQL: {error}") from None


def load(connection: "psycopg.Connection", folder: Path) -> int:
    """Load an export for pgvector in one transaction; return the number of items.

    Raises InputError where the schema ``mmhash`` is there already, where pgvector is not, and for
    whatever else the server refuses; nothing is loaded then.
    """
    import psycopg

    files = check_export(folder, "pgvector")
    try:
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute((files / "schema.sql").read_bytes())
            for name in TABLES:
                file = files / f"{name}.copy"
                statement = f"COPY {_target(name)} FROM STDIN (ENCODING 'UTF8')"
                with file.open("rb") as stream, cursor.copy(statement.encode()) as copy:
                    count = -(-file.stat().st_size // PIECE)
                    for _ in track(range(count), count, name, "MiB"):
                        copy.write(stream.read(PIECE))
            cursor.execute((files / "indexes.sql").read_bytes())
            found = cursor.execute("SELECT count(*) FROM mmhash.items").fetchone()
        connection.execute("ANALYZE mmhash.items")
    except psycopg.errors.DuplicateSchema:
        raise InputError(
            "the database has a schema mmhash already; DROP SCHEMA mmhash CASCADE takes it away"
        ) from None
    except psycopg.errors.FeatureNotSupported as error:
        raise InputError(f"PostgreSQL: {error}; install pgvector 0.7 or newer") from None
    except psycopg.Error as error:
        raise InputError(f"PostgreSQL: {error}") from None
    return int(found[0]) if found else 0
