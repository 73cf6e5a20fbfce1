"""Real photographs through towers of the base architecture's widths, against the plain way.

Two of the twelve layers, to be quick; ``benchmarks/extract_real.py`` does the same with all.
"""

import importlib
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_real_pictures_have_the_vectors_of_the_plain_hugging_face_way(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    base, real = (importlib.import_module(name) for name in ("base_towers", "extract_real"))
    root, checkpoint = real_data / "coco-mini", tmp_path / "base"
    base.write_base_checkpoint(checkpoint, layers=2)
    images = real.some_pictures(root, 9)
    assert len({(row["width"], row["height"]) for row in images.to_pylist()}) > 3
    assert real.pixel_difference(images, root, checkpoint) <= 1
    reference = real.plain(images, root, checkpoint)
    # Were all pictures alike for these towers, wrong vectors would pass too.
    assert real.nearest_other(reference["image"]) < 0.999
    ways = real.run_ways(images, root, checkpoint, tmp_path)
    first = ways["batches of 16"]
    for arrays in ways.values():
        for key in ("image", "text"):
            assert arrays[key].shape == reference[key].shape
            assert real.lowest_cosine(arrays[key], reference[key]) >= 0.9999
            np.testing.assert_allclose(arrays[key], first[key], rtol=1e-3, atol=1e-5)
    for name in ("batches of 16, 2 workers", "batches of 16, 2 workers, killed and resumed"):
        for key in ("image", "text"):
            assert np.array_equal(ways[name][key], first[key])
