from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mmhash.errors import InputError
from mmhash.wholeness import check_whole

MakeRun = Callable[..., Path]


def test_a_database_as_built_is_whole(make_run: MakeRun, tmp_path: Path) -> None:
    check_whole(make_run(tmp_path / "run") / "index", 3)


@pytest.mark.parametrize("name", ["image_id", "caption", "labels", "soft"])
def test_an_array_of_another_size_is_told(make_run: MakeRun, tmp_path: Path, name: str) -> None:
    folder = make_run(tmp_path / "run") / "index"
    np.save(folder / f"{name}.npy", np.load(folder / f"{name}.npy")[1:])
    with pytest.raises(InputError, match=f"{name}.npy has shape"):
        check_whole(folder, 3)


def test_a_category_without_a_column_is_told(make_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"labels.npy has shape .* of 4 classes"):
        check_whole(make_run(tmp_path / "run") / "index", 4)


def test_another_index_is_told(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run") / "index"
    (folder / "index.faiss").write_bytes(b"IBxF")
    with pytest.raises(InputError, match=r"index.faiss is not the one"):
        check_whole(folder, 3)
