"""The kinds of index: how each is built, kept in a file and read back.

Packed binary codes (uint8, 8 bits a byte) are compared by Hamming distance in one of four kinds of
index, real vectors by cosine in ``faiss.IndexFlatIP``. How a kind is parametrised follows from the
number n of items and the code length B. What each kind reaches on 1 and 10 million codes of 64 bits
stands in ``benchmarks/results`` (``benchmarks/index.py``); the figures here are what a choice was
made by, tie-aware recall at K = 20 on 200,000 such codes derived from long-tailed labels with noise
(``benchmarks/index_choices.py``). Uniform codes, every bit a fair coin, have no clusters to use.

``flat``: every pair is compared, exact; the others miss items.

``ivf`` (``IndexBinaryIVF``): items lie in cells around k-means centroids and a query looks into the
nearest cells. Cells: the power of two below 4 √n, which balances comparing centroids with
comparing items, with 40 items a cell at least, the fewest that FAISS calls enough to train a
centroid. Training on 40 items a cell in 4 rounds lost .001 of recall against 64 in 10, at a third
of the time. Probed: 1 cell in 32 and no fewer than 64 cells (of 1,024 cells 64: recall .994; 32:
.983). Among more items the neighbours lie nearer, and the same share finds more of them.

``hnsw`` (``IndexBinaryHNSW``; Malkov and Yashunin 2018): a graph of near items, walked from hop to
hop. 16 links an item, 64 candidates while building, 128 while searching (recall .993; 64: .984).
With 32 links and 100 candidates building takes 1.8 × the time and the bytes, for .004 more. Many
items with one code link mainly to each other, and the rest of the graph is then hard to reach.
Building takes one thread: several insert in an order that differs from run to run.

``multihash`` (:mod:`mmhash.index.multihash`): the code is cut in m = ⌈B / log₂ n⌉ pieces, each the
key of a table; a query looks into the cells near its own, further and further until the k nearest
are surely or very likely found. The kind for many items, with or without clusters. Its file is that
of ``flat``: the tables, 12 m bytes an item, are made when it is read. A search takes one thread;
FAISS's kinds share a batch out among all, and ``flat`` the rows where a query comes alone.

Building twice gives the same bytes: random draws have fixed seeds, threads do not matter.
"""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from mmhash.codes import unpack
from mmhash.errors import InputError
from mmhash.files import atomic_path
from mmhash.index.multihash import MultiHash, build_tables
from mmhash.index.neighbours import Metric
from mmhash.index.shards import row_shards
from mmhash.index.vectors import unit_rows
from mmhash.seeding import numpy_stream

logger = logging.getLogger(__name__)

KINDS = ("flat", "ivf", "hnsw", "multihash")
# the first four bytes of the files that FAISS writes
BINARY_MAGIC = {b"IBxF": "flat", b"IBwF": "ivf", b"IBHf": "hnsw"}
VECTOR_MAGIC = b"IxFI"

IVF_ITEMS_A_CELL = 40
IVF_ROUNDS = 4
IVF_PROBED = 32
IVF_MIN_PROBED = 64
HNSW_LINKS = 16
HNSW_BUILD_CANDIDATES = 64
HNSW_SEARCH_CANDIDATES = 128


@dataclass(frozen=True)
class SearchIndex:
    """A FAISS index; ``gpus`` are copies of its rows on GPUs, one a shard, if there are any.

    ``tables`` are those of ``multihash``, whose FAISS index is the flat one of the same codes.
    """

    faiss_index: Any
    metric: Metric
    kind: str = "flat"
    gpus: tuple[Any, ...] = ()
    tables: MultiHash | None = None

    @property
    def size(self) -> int:
        """Number of indexed items."""
        return int(self.faiss_index.ntotal)

    @property
    def bits(self) -> int:
        """Code length in bits; 0 for real vectors."""
        return int(self.faiss_index.d) if self.metric == "hamming" else 0

    @cached_property
    def flat(self) -> Any:
        """The flat index of the same items; for ``ivf`` it is made, a copy of all codes."""
        if self.kind in ("flat", "multihash"):
            return self.faiss_index
        flat: Any
        if self.kind == "ivf":
            flat = faiss.IndexBinaryFlat(self.bits)
            flat.add(self.faiss_index.reconstruct_n(0, self.size))
        else:
            flat = faiss.downcast_IndexBinary(self.faiss_index.storage)
        flat.use_heap = False
        return flat


def build(items: np.ndarray, kind: str = "flat", device: str = "cpu") -> SearchIndex:
    """Index packed codes (n, B / 8) uint8 by Hamming distance, or real vectors (n, D) by cosine.

    ``device`` "cuda" puts a copy of a flat index on the GPU where one is present and FAISS was
    built for it; a large one is shared out among all GPUs that can be seen. One that does not fit
    stays on the CPU, with a warning: the results are the same. Raises InputError for an unknown
    kind, real vectors in another kind than flat, an empty base or values that are not finite.
    """
    if kind not in KINDS:
        raise InputError(f"index.kind is {kind!r}; allowed: {', '.join(KINDS)}")
    if items.ndim != 2 or 0 in items.shape:
        raise InputError(f"nothing to index: the items have shape {items.shape}")
    if items.dtype == np.uint8:
        make = {"flat": _flat, "ivf": _ivf, "hnsw": _hnsw, "multihash": _flat}[kind]
        return _place(make(np.ascontiguousarray(items)), "hamming", kind, device)
    if kind != "flat":
        raise InputError(
            f"index.kind is {kind!r}, but a model without hash layer gives real vectors, which "
            "only flat can index; set index.kind=flat"
        )
    if not np.isfinite(items).all():
        raise InputError("the vectors to index contain NaN or infinity; did the training diverge?")
    return _products(unit_rows(items), "cosine", device)


def build_asymmetric(codes: np.ndarray, device: str = "cpu") -> SearchIndex:
    """Index packed codes (n, B / 8) uint8 for real-valued queries h (·, B), by 1 - hᵀb / B.

    The codes stand as vectors b of -1 and 1 in an exact inner-product index, 4 B bytes an item.
    """
    return _products(unpack(codes).astype(np.float32) * 2 - 1, "asymmetric", device)


def _products(vectors: np.ndarray, metric: Metric, device: str) -> SearchIndex:
    products = faiss.IndexFlatIP(vectors.shape[1])
    products.add(vectors)
    return _place(products, metric, "flat", device)


def _flat(codes: np.ndarray) -> Any:
    index = faiss.IndexBinaryFlat(codes.shape[1] * 8)
    index.add(codes)
    return index


def _ivf(codes: np.ndarray) -> Any:
    n, bits = len(codes), codes.shape[1] * 8
    most = max(1, min(int(4 * math.sqrt(n)), n // IVF_ITEMS_A_CELL))
    cells = 1 << (most.bit_length() - 1)
    index = faiss.IndexBinaryIVF(faiss.IndexBinaryFlat(bits), bits, cells)
    index.nprobe = min(cells, max(IVF_MIN_PROBED, cells // IVF_PROBED))
    index.cp.niter = IVF_ROUNDS
    index.cp.seed = 0
    index.cp.min_points_per_centroid = 1  # one cell of a tiny base: FAISS need not warn
    # FAISS turns its training items into float32, 32 bytes a byte: it gets the sample, not the base
    sample = numpy_stream(0, "ivf").choice(n, min(n, cells * IVF_ITEMS_A_CELL), replace=False)
    with one_thread():
        index.train(codes[np.sort(sample)])
    index.add(codes)
    return index


def _hnsw(codes: np.ndarray) -> Any:
    index = faiss.IndexBinaryHNSW(codes.shape[1] * 8, HNSW_LINKS)
    index.hnsw.efConstruction = HNSW_BUILD_CANDIDATES
    index.hnsw.efSearch = HNSW_SEARCH_CANDIDATES
    with one_thread():
        index.add(codes)
    return index


@contextmanager
def one_thread() -> Iterator[None]:
    """Let FAISS work in one thread, so that neither sums nor insertions change their order."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _place(built: Any, metric: Metric, kind: str, device: str) -> SearchIndex:
    if kind in ("flat", "multihash") and metric == "hamming":
        built.use_heap = False  # selection by counting: faster, and we order the ties ourselves
    if kind == "multihash":
        return SearchIndex(built, metric, kind, tables=build_tables(_flat_codes(built)))
    gpus = faiss.get_num_gpus() if hasattr(faiss, "GpuIndexBinaryFlat") else 0
    if kind != "flat" or device != "cuda" or gpus == 0:
        return SearchIndex(built, metric, kind)
    items = _flat_items(built, metric)
    shards = row_shards(len(items), gpus)
    try:
        copies = [_on_gpu(items[rows], gpu) for gpu, rows in enumerate(shards)]
    except RuntimeError as error:  # FAISS has no class of its own for a GPU that is full
        _resources.cache_clear()  # the first use may have ended half way
        logger.warning(
            "the GPU has no room for the index of %d items, which is searched on the CPU (%s)",
            len(items),
            str(error).split("failed: ")[-1].strip(),
        )
        return SearchIndex(built, metric, kind)
    return SearchIndex(built, metric, kind, tuple(copies))


@cache
def _resources(gpu: int) -> Any:  # noqa: ARG001 - one for each
    """Return what FAISS works in on GPU number ``gpu``, for all indexes there.

    It reserves 1.5 GB of the GPU's memory and 256 MB of the host's. One search at a time may use
    it, and so search indexes on one GPU.
    """
    return faiss.StandardGpuResources()


def _on_gpu(items: np.ndarray, gpu: int) -> Any:
    """Return a flat index of ``items`` in the memory of GPU number ``gpu``."""
    resources, width = _resources(gpu), items.shape[1]
    copy: Any
    if items.dtype == np.uint8:  # index_cpu_to_gpu serves float indexes only
        binary = faiss.GpuIndexBinaryFlatConfig()
        binary.device = gpu
        copy = faiss.GpuIndexBinaryFlat(resources, width * 8, binary)
    else:
        real = faiss.GpuIndexFlatConfig()
        real.device = gpu
        copy = faiss.GpuIndexFlatIP(resources, width, real)
    copy.add(items)
    return copy


def indexed_items(index: SearchIndex) -> np.ndarray:
    """Return what is indexed: packed codes (M, B / 8) uint8, or unit vectors (M, D) float32.

    A view of the index's own memory, which must not outlive it.
    """
    return _flat_items(index.flat, index.metric)


def _flat_items(flat: Any, metric: Metric) -> np.ndarray:
    """View the packed codes or the vectors of a flat index."""
    if metric == "hamming":
        return _flat_codes(flat)
    return faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d).reshape(flat.ntotal, flat.d)


def _flat_codes(flat: Any) -> np.ndarray:
    """View the packed codes (M, B / 8) uint8 of a flat index."""
    codes = faiss.rev_swig_ptr(flat.xb.data(), flat.ntotal * flat.code_size)
    return codes.reshape(flat.ntotal, flat.code_size)


def save(index: SearchIndex, path: Path | str) -> None:
    """Write the index in FAISS's own format, atomically; InputError where there is no room."""
    write = faiss.write_index_binary if index.metric == "hamming" else faiss.write_index
    with atomic_path(path) as temporary:
        try:
            write(index.faiss_index, str(temporary))
        except RuntimeError as error:
            why = str(error).split("failed: ")[-1].split(" in /")[0]
            raise InputError(f"{path}: not written whole ({why}); make room") from None


def load(path: Path | str, device: str = "cpu", kind: str | None = None) -> SearchIndex:
    """Read what :func:`save` wrote; raises InputError where the file is missing or damaged.

    ``kind`` is the kind wanted, if one is. "multihash" makes the tables anew, since its file is
    that of ``flat``; any other must be what the file holds, or InputError is raised. What lies in a
    flat file is mapped into memory, not copied: it takes memory as it is searched, which the system
    may take back, and processes share it.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); run build_index") from None
    found = "flat" if magic == VECTOR_MAGIC else BINARY_MAGIC.get(magic)
    if found is None:
        allowed = ", ".join(KINDS)
        raise InputError(f"{path}: no FAISS index of kind {allowed}; run build_index again")
    read = faiss.read_index if magic == VECTOR_MAGIC else faiss.read_index_binary
    try:
        index = read(str(path), faiss.IO_FLAG_MMAP_IFC if found == "flat" else 0)
    except (RuntimeError, MemoryError):
        raise InputError(f"{path}: damaged FAISS index; run build_index again") from None
    metric: Metric = "cosine" if magic == VECTOR_MAGIC else "hamming"
    hashed = found == "flat" and metric == "hamming" and kind == "multihash"
    if kind not in (None, found) and not hashed:
        raise InputError(f"{path}: holds an index of kind {found}, not {kind}; run build_index")
    return _place(index, metric, "multihash" if hashed else found, device)
