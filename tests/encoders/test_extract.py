import json
import logging
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from mmhash.encoders import extract as module
from mmhash.encoders.batch import extraction_batch
from mmhash.encoders.checkpoint import Towers, load_checkpoint
from mmhash.encoders.device import choose_precision, describe_device
from mmhash.encoders.extract import extract, extraction_key
from mmhash.encoders.pixels import Pictures, decode
from mmhash.errors import InputError

OUTS = ["caption_offset.npy", "image.npy", "image_id.npy", "meta.json", "text.npy"]
Data = tuple[pa.Table, partial]


def run(data: Data, towers: Towers, folder: Path, **options: Any) -> dict[str, Any]:
    """Extract into ``folder``/out with shards of 3 images unless the options say otherwise."""
    options = {"shard": 3, "batch": 4} | options
    return extract(*data, towers, folder / "out", folder / "cache", **options)


def out_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "out").iterdir())}


def load(folder: Path, name: str) -> np.ndarray:
    return np.load(folder / "out" / f"{name}.npy")


def count_rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record how many pictures go through the vision tower, one entry a batch."""
    seen: list[int] = []
    encode = Towers.encode_images

    def counted(self: Towers, pictures: Pictures) -> torch.Tensor:
        seen.append(len(pictures.grids))
        return encode(self, pictures)

    monkeypatch.setattr(Towers, "encode_images", counted)
    return seen


def limit_rows(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """Raise the out-of-memory error of the device for more than ``limit`` rows in a batch."""
    for name in ("encode_images", "encode_texts"):
        encode = getattr(Towers, name)

        def limited(self: Towers, rows: Any, encode: Any = encode) -> torch.Tensor:
            count = len(rows.grids) if isinstance(rows, Pictures) else len(rows)
            if count > limit:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return encode(self, rows)

        monkeypatch.setattr(Towers, name, limited)


def test_every_picture_and_caption_has_its_row(
    dataset: Data, towers: Towers, pictures: list[Path], tmp_path: Path
) -> None:
    meta = run(dataset, towers, tmp_path, dtype="float32")
    table = dataset[0]
    images = towers.encode_images(decode(pictures, towers.pixels)[0]).numpy()
    np.testing.assert_allclose(load(tmp_path, "image"), images, atol=1e-5)
    captions = table.column("captions").to_pylist()
    offsets = load(tmp_path, "caption_offset")
    assert offsets.tolist() == [0, *np.cumsum([len(each) for each in captions])]
    texts = towers.encode_texts([text for each in captions for text in each]).numpy()
    np.testing.assert_allclose(load(tmp_path, "text"), texts, atol=1e-5)
    assert load(tmp_path, "image_id").tolist() == table.column("image_id").to_pylist()
    assert load(tmp_path, "image").dtype == np.float32
    assert (meta["images"], meta["captions"]) == (10, offsets[-1])


def test_meta_records_how_the_vectors_were_made(
    dataset: Data, towers: Towers, tmp_path: Path
) -> None:
    meta = run(dataset, towers, tmp_path)
    assert json.loads((tmp_path / "out" / "meta.json").read_text()) == meta
    assert meta["model_type"] == towers.model_type
    assert meta["width"] == 32
    assert meta["dtype"] == "float16"
    assert (meta["device"], meta["precision"]) == ("cpu", "float32")
    assert meta["token_length"] == 64
    assert meta["max_num_patches"] == {"fixed": None, "naflex": 24}[towers.kind]
    assert (meta["normalised"], meta["skipped"]) == (False, [])
    assert meta["versions"]["transformers"] == "5.23.0"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == OUTS
    assert load(tmp_path, "image").dtype == load(tmp_path, "text").dtype == np.float16


def test_magnitude_is_kept_unless_normalised(
    dataset: Data, fixed_towers: Towers, tmp_path: Path
) -> None:
    run(dataset, fixed_towers, tmp_path / "raw", dtype="float32")
    meta = run(dataset, fixed_towers, tmp_path / "unit", dtype="float32", normalise=True)
    assert meta["normalised"]
    for name in ("image", "text"):
        raw, unit = load(tmp_path / "raw", name), load(tmp_path / "unit", name)
        norms = np.linalg.norm(raw, axis=1, keepdims=True)
        assert norms.std() > 1e-3
        np.testing.assert_allclose(unit, raw / norms, atol=1e-6)


def test_workers_change_no_byte(dataset: Data, towers: Towers, tmp_path: Path) -> None:
    for workers in (0, 2):
        run(dataset, towers, tmp_path / str(workers), workers=workers)
    assert out_bytes(tmp_path / "0") == out_bytes(tmp_path / "2")


def test_batch_and_shards_change_rounding_only(
    dataset: Data, fixed_towers: Towers, tmp_path: Path
) -> None:
    sizes = {"a": (3, 4), "b": (10, 64), "c": (4, 1)}
    for name, (shard, batch) in sizes.items():
        run(dataset, fixed_towers, tmp_path / name, shard=shard, batch=batch, dtype="float32")
    for name in ("b", "c"):
        for array in ("image", "text"):
            ours, reference = load(tmp_path / name, array), load(tmp_path / "a", array)
            np.testing.assert_allclose(ours, reference, atol=1e-5)


def test_batches_run_across_chunks(
    dataset: Data, fixed_towers: Towers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 3)
    seen = count_rows(monkeypatch)
    run(dataset, fixed_towers, tmp_path, shard=10, batch=4)
    assert seen == [4, 4, 2]


def test_equal_captions_are_encoded_once_and_equal(
    dataset: Data, fixed_towers: Towers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    encode = Towers.encode_texts
    monkeypatch.setattr(
        Towers, "encode_texts", lambda self, texts: (seen.extend(texts), encode(self, texts))[1]
    )
    run(dataset, fixed_towers, tmp_path, shard=10)
    captions = [text.lower() for each in dataset[0].column("captions").to_pylist() for text in each]
    assert seen == list(dict.fromkeys(captions))
    assert len(seen) < len(captions)
    text = load(tmp_path, "text")
    for row, caption in enumerate(captions):
        assert np.array_equal(text[row], text[captions.index(caption)])


def test_interrupted_run_goes_on_after_its_last_shard(
    dataset: Data, towers: Towers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(dataset, towers, tmp_path / "whole")
    encode, calls = Towers.encode_images, []

    def interrupted(self: Towers, pictures: Pictures) -> torch.Tensor:
        calls.append(len(pictures.grids))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return encode(self, pictures)

    with monkeypatch.context() as patch:
        patch.setattr(Towers, "encode_images", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(dataset, towers, tmp_path / "resumed")
    assert not (tmp_path / "resumed" / "out").exists()
    assert len(list((tmp_path / "resumed" / "cache").iterdir())) == 2
    seen = count_rows(monkeypatch)
    run(dataset, towers, tmp_path / "resumed")
    assert sum(seen) == 10 - 2 * 3  # the two finished shards were not done again
    assert out_bytes(tmp_path / "resumed") == out_bytes(tmp_path / "whole")
    assert not (tmp_path / "resumed" / "cache").exists()


KILLED = """
import os, signal, sys
import pyarrow.parquet as pq, torch
from functools import partial
from pathlib import Path
from mmhash.encoders import extract as module
from mmhash.encoders.checkpoint import load_checkpoint
torch.set_num_threads(1)
write, folder = module.write_shard, Path(sys.argv[1])
def killing(path, arrays, bad):
    write(path, arrays, bad)
    if path.name.startswith("00000003"):
        os.kill(os.getpid(), signal.SIGKILL)
module.write_shard = killing
def locate(folder, name): return Path(sys.argv[3]) / folder / name
towers = load_checkpoint(sys.argv[2], None, torch.device("cpu"))
module.extract(pq.read_table(folder / "table.parquet"), locate, towers, folder / "out",
               folder / "cache", shard=3, batch=4, workers=1)
"""


def test_killed_process_resumes_to_the_same_bytes(
    dataset: Data, fixed_folder: Path, fixed_towers: Towers, tmp_path: Path, pictures: list[Path]
) -> None:
    pq.write_table(dataset[0], tmp_path / "table.parquet")
    root = Path(module.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path, fixed_folder, pictures[0].parent.parent],
        env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    kept = sorted(p.name for p in (tmp_path / "cache").iterdir() if p.suffix == ".safetensors")
    assert kept == ["00000000-00000003.safetensors", "00000003-00000006.safetensors"]
    run(dataset, fixed_towers, tmp_path)
    run(dataset, fixed_towers, tmp_path / "whole")
    assert out_bytes(tmp_path) == out_bytes(tmp_path / "whole")


@pytest.fixture
def spoilt(dataset: Data, pictures: list[Path], tmp_path: Path) -> Data:
    """The dataset with two unreadable pictures: 1.jpg truncated, palette.png missing."""
    root = tmp_path / "spoilt"
    shutil.copytree(pictures[0].parent, root / "train2014")
    whole = pictures[1].read_bytes()
    (root / "train2014" / "1.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "train2014" / "palette.png").unlink()
    return dataset[0], partial(dataset[1].func, root)


def test_all_unreadable_pictures_are_listed_and_nothing_is_written(
    spoilt: Data, fixed_towers: Towers, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as error:
        run(spoilt, fixed_towers, tmp_path)
    message = str(error.value)
    assert "2 of 10" in message
    assert "train2014/1.jpg (image file is truncated" in message
    assert "train2014/palette.png (no such file)" in message
    assert "\n" not in message
    assert str(tmp_path) not in message
    assert not (tmp_path / "out").exists()


def test_mended_pictures_cost_their_shards_only(
    spoilt: Data,
    fixed_towers: Towers,
    pictures: list[Path],
    dataset: Data,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(InputError):
        run(spoilt, fixed_towers, tmp_path)
    shutil.copytree(pictures[0].parent, tmp_path / "spoilt" / "train2014", dirs_exist_ok=True)
    seen = count_rows(monkeypatch)
    run(spoilt, fixed_towers, tmp_path)
    assert sum(seen) == 6  # rows 0–2 and 6–8
    run(dataset, fixed_towers, tmp_path / "whole")
    assert out_bytes(tmp_path) == out_bytes(tmp_path / "whole")


def test_skipped_pictures_are_left_out_and_reported(
    spoilt: Data,
    fixed_towers: Towers,
    dataset: Data,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, logger="mmhash"):
        meta = run(spoilt, fixed_towers, tmp_path, on_bad_image="skip", dtype="float32")
    assert [bad["file"] for bad in meta["skipped"]] == [
        "train2014/1.jpg",
        "train2014/palette.png",
    ]
    assert [bad["image_id"] for bad in meta["skipped"]] == [107, 149]
    assert "2 of 10 pictures cannot be read" in caplog.text
    run(dataset, fixed_towers, tmp_path / "whole", dtype="float32")
    kept = [row for row in range(10) if row not in (1, 7)]
    whole = tmp_path / "whole"
    np.testing.assert_allclose(load(tmp_path, "image"), load(whole, "image")[kept], atol=1e-5)
    assert load(tmp_path, "image_id").tolist() == load(whole, "image_id")[kept].tolist()
    offsets, whole_offsets = load(tmp_path, "caption_offset"), load(whole, "caption_offset")
    for row, origin in enumerate(kept):
        np.testing.assert_allclose(
            load(tmp_path, "text")[offsets[row] : offsets[row + 1]],
            load(whole, "text")[whole_offsets[origin] : whole_offsets[origin + 1]],
            atol=1e-5,
        )


def test_no_readable_picture_is_an_error_even_when_skipping(
    dataset: Data, fixed_towers: Towers, tmp_path: Path
) -> None:
    nowhere = dataset[0], partial(dataset[1].func, tmp_path / "nowhere")
    with pytest.raises(InputError, match="10 of 10"):
        run(nowhere, fixed_towers, tmp_path, on_bad_image="skip")


def test_out_of_memory_halves_the_batch_to_the_same_result(
    dataset: Data,
    towers: Towers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run(dataset, towers, tmp_path / "configured", batch=2, shard=10)
    limit_rows(monkeypatch, 2)
    with caplog.at_level(logging.WARNING, logger="mmhash"):
        run(dataset, towers, tmp_path / "halved", batch=8, shard=10)
    assert [record.args for record in caplog.records] == [(4,), (2,)]
    assert out_bytes(tmp_path / "halved") == out_bytes(tmp_path / "configured")


def test_out_of_memory_with_one_row_gives_advice(
    dataset: Data, fixed_towers: Towers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_rows(monkeypatch, 0)
    with pytest.raises(InputError, match="single row"):
        run(dataset, fixed_towers, tmp_path)


@pytest.mark.parametrize(
    ("name", "what"), [("encode_images", "image"), ("encode_texts", "caption")]
)
@pytest.mark.parametrize("value", [float("nan"), 1e6])
def test_vectors_that_are_not_finite_name_their_image(
    dataset: Data,
    fixed_towers: Towers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    what: str,
    value: float,
) -> None:
    encode, calls = getattr(Towers, name), []

    def broken(self: Towers, rows: Any) -> torch.Tensor:
        vectors = encode(self, rows).clone()
        calls.append(len(vectors))
        if len(calls) == 2:  # the second shard; 1e6 overflows float16
            vectors[1, 3] = value
        return vectors

    monkeypatch.setattr(Towers, name, broken)
    with pytest.raises(InputError, match=f"the {what} vector of image 128 "):
        run(dataset, fixed_towers, tmp_path, batch=64)


@pytest.mark.parametrize(
    ("captions", "match"), [([" \n"], "caption 0 is empty"), ([], "no caption")]
)
def test_caption_that_says_nothing_names_its_image(
    dataset: Data, fixed_towers: Towers, tmp_path: Path, captions: list[str], match: str
) -> None:
    column = dataset[0].column("captions").to_pylist()
    column[4] = captions
    table = dataset[0].set_column(3, "captions", pa.array(column, pa.list_(pa.string())))
    with pytest.raises(InputError, match=f"image 128.*{match}"):
        run((table, dataset[1]), fixed_towers, tmp_path)


def test_wrong_words_and_empty_tables_are_input_errors(
    dataset: Data, fixed_towers: Towers, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="on_bad_image"):
        run(dataset, fixed_towers, tmp_path, on_bad_image="ignore")
    with pytest.raises(InputError, match="dtype"):
        run(dataset, fixed_towers, tmp_path, dtype="int8")
    with pytest.raises(InputError, match="no rows"):
        run((dataset[0].slice(0, 0), dataset[1]), fixed_towers, tmp_path)


def test_progress_counts_every_row(
    dataset: Data, fixed_towers: Towers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []

    def track(items: Any, total: int, what: str, unit: str) -> Any:
        count = sum(1 for _ in items)
        shown.append((count, total, what, unit))
        return []

    monkeypatch.setattr(module, "track", track)
    run(dataset, fixed_towers, tmp_path)
    captions = sum(map(len, dataset[0].column("captions").to_pylist()))
    assert shown == [(10 + captions, 10 + captions, "extract", "row")]


def test_global_random_streams_stay_where_they_are(
    dataset: Data, fixed_towers: Towers, tmp_path: Path
) -> None:
    before = torch.get_rng_state()
    run(dataset, fixed_towers, tmp_path, workers=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_key_names_what_determines_the_vectors(
    dataset: Data, towers: Towers, fixed_folder: Path
) -> None:
    table = dataset[0]
    options = {"dtype": "float16", "normalise": False, "raw": "a"}
    key = extraction_key(table, towers, **options)
    assert (
        extraction_key(pa.concat_tables([table.slice(0, 3), table.slice(3)]), towers, **options)
        == key
    )
    assert extraction_key(table.replace_schema_metadata({"by": "me"}), towers, **options) == key
    low = load_checkpoint(str(fixed_folder), None, torch.device("cpu"), precision=torch.bfloat16)
    others = [
        extraction_key(table.slice(1), towers, **options),
        extraction_key(table, low, **options),
        *(
            extraction_key(table, towers, **(options | change))
            for change in ({"dtype": "float32"}, {"normalise": True}, {"raw": "b"})
        ),
    ]
    assert len({key, *others}) == 6


def test_extracting_twice_in_batches_that_suit_the_device_gives_the_same_bytes(
    dataset: Data, folder: Path, device: str, tmp_path: Path
) -> None:
    place = torch.device(device)
    precision = choose_precision("auto", place)
    towers = load_checkpoint(str(folder), None, place, precision=precision)
    for name in ("once", "twice"):
        batch = extraction_batch("auto", towers, tmp_path / name / "cache")
        meta = run(dataset, towers, tmp_path / name, batch=batch)
        assert meta["device"] == describe_device(place)
    assert out_bytes(tmp_path / "once") == out_bytes(tmp_path / "twice")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_extraction_on_cuda_agrees_with_the_cpu(
    dataset: Data, folder: Path, towers: Towers, tmp_path: Path
) -> None:
    cuda = load_checkpoint(str(folder), None, torch.device("cuda"), precision=torch.bfloat16)
    run(dataset, cuda, tmp_path / "cuda", dtype="float32", workers=1, pin_memory=True)
    run(dataset, towers, tmp_path / "cpu", dtype="float32")
    for name in ("image", "text"):
        ours = torch.from_numpy(load(tmp_path / "cuda", name))
        reference = torch.from_numpy(load(tmp_path / "cpu", name))
        assert torch.cosine_similarity(ours, reference).min() >= 0.999
