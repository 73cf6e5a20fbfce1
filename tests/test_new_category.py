"""A category that nothing was trained on, added with five pictures, is found on held-out ones."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import mmhash
from mmhash.cli.main import main
from mmhash.data.coco import image_path
from mmhash.files import read_json, read_table, sha256_file, write_json, write_table
from mmhash.prediction import Prediction

from .conftest import make_drawn

NAME, EXAMPLES = "giraffe", 5
COUNTS = {"train": 500, "restval": 0, "val": 40, "test": 120}
PARAMS = {"train": {"num_epochs": 10}, "evaluate": {"bootstrap_samples": 100}}


class Withheld(NamedTuple):
    """A finished run in which no picture has the category; rows of those pictures, and of test."""

    folder: Path
    carriers: list[dict[str, Any]]
    others: list[dict[str, Any]]
    names: dict[int, str]


@pytest.fixture(scope="module")
def withheld(
    tmp_path_factory: pytest.TempPathFactory, repository: Path, run_stages: Callable[..., None]
) -> Withheld:
    folder = tmp_path_factory.mktemp("withheld")
    make_drawn(folder, COUNTS)
    run_stages(folder, PARAMS, ("fetch_data", "index_coco", "download_karpathy_split"))

    data = folder / "data"
    images, split = read_table(data / "images.parquet"), read_table(data / "split.parquet")
    categories = read_json(data / "categories.json")
    (number,) = [entry["id"] for entry in categories if entry["name"] == NAME]
    has = np.array([number in ids for ids in images["category_ids"].to_pylist()])
    write_table(data / "images.parquet", images.filter(~has))
    write_table(data / "split.parquet", split.filter(~has))
    write_json(data / "categories.json", [c for c in categories if c["id"] != number])
    stages = ("extract_features", "encode_classes", "train", "build_index", "evaluate")
    run_stages(folder, {}, stages)

    rows = images.append_column("split", split["split"]).to_pylist()
    for row in rows:
        row["path"] = image_path(folder / "pictures", row["folder"], row["file_name"])
    return Withheld(
        folder,
        [row for row, with_it in zip(rows, has, strict=True) if with_it],
        [r for r, with_it in zip(rows, has, strict=True) if not with_it and r["split"] == "test"],
        {entry["id"]: entry["name"] for entry in categories},
    )


def predict(folder: Path, rows: list[dict[str, Any]], captioned: bool = True) -> list[Prediction]:
    captions = [row["captions"][0] for row in rows] if captioned else None
    return mmhash.load(folder).predict([row["path"] for row in rows], captions, top_n=80)


def index(folder: Path, *arguments: str) -> None:
    with contextlib.chdir(folder), pytest.raises(SystemExit) as ended:
        main(["index", *arguments])
    assert ended.value.code == 0


def score(prediction: Prediction) -> float:
    return {tag.name: tag.score for tag in prediction.tags}[NAME]


def is_named(prediction: Prediction) -> bool:
    return NAME in [tag.name for tag in prediction.tags[:5]]


def checksums(folder: Path) -> dict[str, str]:
    return {file.name: sha256_file(file) for file in sorted(folder.iterdir())}


def test_five_pictures_of_a_new_category_find_it_on_held_out_ones(withheld: Withheld) -> None:
    folder, carriers, others, names = withheld
    added, held_out = carriers[:EXAMPLES], carriers[EXAMPLES:]
    assert len(held_out) >= 5
    built, before = checksums(folder / "index"), predict(folder, held_out)
    assert not any(NAME in [tag.name for tag in found.tags] for found in before)

    lines = [
        f'{row["path"]},{";".join(names[c] for c in row["category_ids"])},"{row["captions"][0]}"\n'
        for row in added
    ]
    (folder / "list.csv").write_text("".join(["file,labels,caption\n", *lines]), encoding="utf-8")
    index(folder, "add", "list.csv", "--new-categories")
    with_it, without = predict(folder, held_out), predict(folder, others)
    scores = [score(found) for found in (*with_it, *without)]
    carries = [1] * len(with_it) + [0] * len(without)
    assert roc_auc_score(carries, scores) > 0.85
    assert np.mean([is_named(found) for found in with_it]) > 0.5
    assert np.mean([is_named(found) for found in without]) < 0.2
    voters = [voter for found in with_it for voter in found.neighbours]
    seen = [voter for voter in voters if NAME in voter.categories]
    assert seen
    assert all(voter.picture is not None and voter.picture.is_file() for voter in seen)
    assert {voter.caption for voter in seen} <= {row["captions"][0] for row in added}

    index(folder, "undo")
    assert predict(folder, held_out) == before
    assert checksums(folder / "index") == built
    index(folder, "redo")
    assert [score(found) for found in predict(folder, held_out)] == scores[: len(with_it)]
    ids = [str(voter.image_id) for voter in seen]
    index(folder, "remove", *dict.fromkeys(ids))
    assert [score(f) for f in predict(folder, held_out)] != scores[: len(with_it)]
