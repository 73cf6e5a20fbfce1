"""Against pymilvus: its schema classes, its bulk writer and its client; no Milvus is running here.

A stand-in answers the client's calls over the wire and keeps what it was sent.
"""

import importlib
import sys
import types
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pyarrow.parquet as pq
import pymilvus
import pytest
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc, schema_pb2

from mmhash.errors import InputError
from mmhash.export import milvus
from mmhash.export.rows import Rows, export_rows
from mmhash.export.write import write_export
from mmhash.files import read_json, read_npy, read_table

HOSTILE = [
    *("tab\t newline\n", "\0", "\\.", 'it\'s "quoted"', "🐕‍🦺 \u202eעברית", ""),
    "x" * 65_535,
    "é" * 40_000,
    "x" + "é" * 32_767,
    "🐕" * 20_000,
    "y" * 100_000,
]


@pytest.fixture
def rows(make_collection) -> Rows:
    codes = np.random.default_rng(0).integers(0, 256, (len(HOSTILE), 8), dtype=np.uint8)
    return export_rows(make_collection(codes, HOSTILE, ["it's", 'a "b"', "🐶", "plain"]))


def codes_of(rows: Rows) -> list[bytes]:
    return rows.table["code"].to_pylist()


def test_pymilvus_takes_the_schema(rows, tmp_path):
    write_export(rows, tmp_path / "out", "milvus")
    described = read_json(tmp_path / "out" / "milvus" / "schema.json")
    schema = milvus.collection_schema(described)
    schema.verify()
    fields = {field.name: field for field in schema.fields}
    assert list(fields) == rows.table.column_names
    assert schema.primary_field.name == "item"
    assert not schema.auto_id
    assert fields["code"].dtype == pymilvus.DataType.BINARY_VECTOR
    assert fields["code"].params["dim"] == 64
    assert fields["categories"].element_type == pymilvus.DataType.VARCHAR
    index = described["index"]
    assert (index["index_type"], index["metric_type"]) == ("BIN_FLAT", "HAMMING")


def test_many_items_get_an_index_of_cells():
    index = milvus.describe(64, 4_000_000)["index"]
    assert (index["index_type"], index["params"]) == ("BIN_IVF_FLAT", {"nlist": 8000})
    assert milvus.describe(64, 1_000_000)["index"]["index_type"] == "BIN_FLAT"


def test_the_client_packs_the_bytes_that_faiss_has(rows, tmp_path):
    from pymilvus.client.prepare import Prepare

    write_export(rows, tmp_path / "out", "milvus")
    folder = tmp_path / "out" / "milvus"
    schema = milvus.collection_schema(read_json(folder / "schema.json"))
    sent = Prepare.row_insert_param(
        "mmhash",
        milvus.entities(read_table(folder / "rows.parquet")),
        "",
        schema.to_dict()["fields"],
    )
    data = {field.field_name: field for field in sent.fields_data}
    assert data["code"].vectors.dim == 64
    assert data["code"].vectors.binary_vector == b"".join(codes_of(rows))
    assert list(data["item"].scalars.long_data.data) == list(range(len(HOSTILE)))
    ids = [list(row.int_data.data) for row in data["category_ids"].scalars.array_data.data]
    assert ids == rows.table["category_ids"].to_pylist()
    names = [list(row.string_data.data) for row in data["categories"].scalars.array_data.data]
    assert names == rows.table["categories"].to_pylist()


@pytest.fixture
def bulk_writer(monkeypatch: pytest.MonkeyPatch) -> type:
    """pymilvus' LocalBulkWriter without the cloud clients that its package asks for."""
    package = types.ModuleType("pymilvus.bulk_writer")
    package.__path__ = [str(Path(pymilvus.__file__).parent / "bulk_writer")]
    monkeypatch.setitem(sys.modules, "pymilvus.bulk_writer", package)
    monkeypatch.setitem(sys.modules, "ml_dtypes", types.ModuleType("ml_dtypes"))  # bfloat16 alone
    before = set(sys.modules)
    yield importlib.import_module("pymilvus.bulk_writer.local_bulk_writer").LocalBulkWriter
    for name in set(sys.modules) - before:
        if name.startswith("pymilvus.bulk_writer"):
            del sys.modules[name]


def test_the_bulk_writer_takes_every_row_and_writes_the_same_table(rows, tmp_path, bulk_writer):
    write_export(rows, tmp_path / "out", "milvus")
    folder = tmp_path / "out" / "milvus"
    table = read_table(folder / "rows.parquet")
    writer = bulk_writer(
        milvus.collection_schema(read_json(folder / "schema.json")), str(tmp_path / "bulk")
    )
    for row in milvus.entities(table):
        writer.append_row(row)
    writer.commit()
    ((file,),) = writer.batch_files
    assert pq.read_table(file).replace_schema_metadata(None).equals(table)
    with pytest.raises(pymilvus.MilvusException):
        writer.append_row({**milvus.entities(table)[0], "code": b"short"})


def test_texts_are_cut_to_what_milvus_holds_and_said_so(rows, tmp_path):
    manifest = write_export(rows, tmp_path / "out", "milvus")
    assert manifest["notes"] == ["3 texts of caption were cut to Milvus's 65535 bytes"]
    table = read_table(tmp_path / "out" / "milvus" / "rows.parquet")
    for text, whole in zip(table["caption"].to_pylist(), HOSTILE, strict=True):
        assert len(text.encode()) <= 65_535
        assert whole.startswith(text)
        assert len(whole.encode()) <= 65_535 or len(text.encode()) > 65_531
    kept = read_table(tmp_path / "out" / "codes.parquet")
    assert kept["caption"].to_pylist() == HOSTILE


def test_a_name_that_does_not_fit_is_refused(make_collection, tmp_path):
    codes = np.zeros((3, 8), dtype=np.uint8)
    rows = export_rows(make_collection(codes, names=["é" * 513, "short"]))
    with pytest.raises(InputError, match="name of category 10 is longer than 1024 bytes"):
        write_export(rows, tmp_path / "out", "milvus")
    assert not (tmp_path / "out").exists()


class StandIn(milvus_pb2_grpc.MilvusServiceServicer):
    """Answers what loading asks of Milvus 2.4 and newer, and keeps what it was sent."""

    def __init__(self) -> None:
        self.schema: schema_pb2.CollectionSchema | None = None
        self.inserted: list[milvus_pb2.InsertRequest] = []
        self.index: dict[str, str] = {}
        self.loaded = self.refuse_rows = False

    def Connect(self, request, context):  # noqa: N802
        return milvus_pb2.ConnectResponse(status=common_pb2.Status(), identifier=1)

    def DescribeCollection(self, request, context):  # noqa: N802
        if self.schema is None:
            missing = common_pb2.Status(code=100, error_code=4, reason="collection not found")
            return milvus_pb2.DescribeCollectionResponse(status=missing)
        return milvus_pb2.DescribeCollectionResponse(
            status=common_pb2.Status(), schema=self.schema, collection_name=request.collection_name
        )

    def CreateCollection(self, request, context):  # noqa: N802
        self.schema = schema_pb2.CollectionSchema.FromString(request.schema)
        return common_pb2.Status()

    def DropCollection(self, request, context):  # noqa: N802
        self.schema = None
        return common_pb2.Status()

    def Insert(self, request, context):  # noqa: N802
        if self.refuse_rows and self.inserted:
            refused = common_pb2.Status(code=1100, error_code=1, reason="disk quota exceeded")
            return milvus_pb2.MutationResult(status=refused)
        self.inserted.append(request)
        keys = next(field for field in request.fields_data if field.field_name == "item")
        ids = schema_pb2.IDs(int_id=keys.scalars.long_data)
        return milvus_pb2.MutationResult(
            status=common_pb2.Status(), IDs=ids, insert_cnt=request.num_rows
        )

    def Flush(self, request, context):  # noqa: N802
        return milvus_pb2.FlushResponse(status=common_pb2.Status())

    def GetFlushState(self, request, context):  # noqa: N802
        return milvus_pb2.GetFlushStateResponse(status=common_pb2.Status(), flushed=True)

    def CreateIndex(self, request, context):  # noqa: N802
        self.index = {pair.key: pair.value for pair in request.extra_params}
        self.index["field"] = request.field_name
        return common_pb2.Status()

    def DescribeIndex(self, request, context):  # noqa: N802
        described = milvus_pb2.IndexDescription(
            index_name=self.index["field"], field_name=self.index["field"], state=3
        )
        return milvus_pb2.DescribeIndexResponse(
            status=common_pb2.Status(), index_descriptions=[described]
        )

    def LoadCollection(self, request, context):  # noqa: N802
        self.loaded = True
        return common_pb2.Status()

    def GetLoadingProgress(self, request, context):  # noqa: N802
        return milvus_pb2.GetLoadingProgressResponse(status=common_pb2.Status(), progress=100)


@pytest.fixture
def stand_in() -> Iterator[tuple[StandIn, str]]:
    """A stand-in on a free port of this machine, and its address."""
    service = StandIn()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    milvus_pb2_grpc.add_MilvusServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield service, f"http://127.0.0.1:{port}"
    server.stop(None).wait()


def test_the_client_loads_every_row(make_collection, tmp_path, stand_in):
    service, address = stand_in
    codes = np.random.default_rng(0).integers(0, 256, (2500, 8), dtype=np.uint8)
    collection = make_collection(codes)
    write_export(export_rows(collection), tmp_path / "out", "milvus")
    client = milvus.connect(address)
    assert milvus.load(client, tmp_path / "out") == 2500
    assert [request.num_rows for request in service.inserted] == [1000, 1000, 500]
    sent = {"code": b"", "image_id": []}
    for request in service.inserted:
        fields = {field.field_name: field for field in request.fields_data}
        sent["code"] += fields["code"].vectors.binary_vector
        sent["image_id"] += list(fields["image_id"].scalars.long_data.data)
    assert sent["code"] == codes.tobytes()
    assert sent["image_id"] == read_npy(collection.folder / "image_id.npy").tolist()
    assert service.index["field"] == "code"
    assert (service.index["index_type"], service.index["metric_type"]) == ("BIN_FLAT", "HAMMING")
    assert service.loaded
    with pytest.raises(InputError, match="has a collection mmhash already"):
        milvus.load(client, tmp_path / "out")
    assert service.schema is not None


def test_a_refused_row_leaves_no_collection(make_collection, tmp_path, stand_in):
    service, address = stand_in
    service.refuse_rows = True
    codes = np.zeros((1500, 8), dtype=np.uint8)
    write_export(export_rows(make_collection(codes)), tmp_path / "out", "milvus")
    with pytest.raises(InputError, match=r"Milvus: .*disk quota exceeded"):
        milvus.load(milvus.connect(address), tmp_path / "out")
    assert service.schema is None


def test_batches_hold_all_rows_and_stay_below_the_message_bound(rows, monkeypatch):
    monkeypatch.setattr(milvus, "BATCH_BYTES", 100_000)
    pieces = milvus.batches(rows.table)
    assert len(pieces) > 3
    items = [item for piece in pieces for item in piece["item"].to_pylist()]
    assert items == list(range(len(HOSTILE)))


def test_no_server_is_one_clear_line(monkeypatch):
    monkeypatch.setattr(milvus, "PATIENCE", 0.5)
    with pytest.raises(InputError, match=r"Milvus at http://127\.0\.0\.1:9: "):
        milvus.connect("http://127.0.0.1:9")
