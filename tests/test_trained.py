import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import mmhash
from mmhash import trained
from mmhash.codes import pack
from mmhash.data.coco import image_path
from mmhash.errors import InputError
from mmhash.files import read_json, write_json
from mmhash.prediction import Prediction
from mmhash.trained import TrainedRun

from .conftest import PREPARED, TRAINED

Make = Callable[..., Path]

TINY_UCMFH = {"batch_size": 16, "hidden": 16, "num_epochs": 1}
TINY_AGCH = {"batch_size": 16, "hidden": 32, "num_epochs": 1, "graph_dims": [32]}


@pytest.fixture(scope="module")
def run(trained_run: Path) -> TrainedRun:
    return mmhash.load(trained_run)


def of_split(folder: Path, split: str) -> list[dict[str, Any]]:
    """The images of a split in the order of its predictions, each with the path of its picture."""
    images = pq.read_table(folder / "data" / "images.parquet").to_pylist()
    by_id = {row["image_id"]: row for row in images}
    ids = np.load(folder / "predictions" / split / "image_id.npy").tolist()
    for row in images:
        row["path"] = image_path(folder / "pictures", row["folder"], row["file_name"])
    return [by_id[number] for number in ids]


def paired(run: TrainedRun, rows: list[dict[str, Any]], **more: Any) -> list[Prediction]:
    return run.predict([row["path"] for row in rows], [row["captions"][0] for row in rows], **more)


def assert_as_evaluated(found: list[Prediction], folder: Path) -> None:
    """Compare tags and scores of the test pictures with what ``evaluate`` wrote."""
    tags = pq.read_table(folder / "predictions/test/tags.parquet").to_pylist()
    for prediction, expected in zip(found, tags, strict=True):
        assert [tag.name for tag in prediction.tags] == expected["tags"]
        scores = [tag.score for tag in prediction.tags]
        np.testing.assert_allclose(scores, expected["scores"], atol=1e-6)


def test_a_test_picture_with_its_caption_is_tagged_as_evaluate_tagged_it(
    run: TrainedRun, trained_run: Path
) -> None:
    rows = of_split(trained_run, "test")
    found = paired(run, rows)
    assert_as_evaluated(found, trained_run)
    listed = pq.read_table(trained_run / "predictions/test/neighbours.parquet").to_pylist()
    for prediction, expected in zip(found, listed, strict=True):
        voters = prediction.neighbours
        assert [voter.image_id for voter in voters] == expected["neighbour_ids"]
        np.testing.assert_allclose([v.distance for v in voters], expected["distances"], atol=1e-6)
        np.testing.assert_allclose([v.share for v in voters], expected["weights"], atol=1e-6)
        assert not prediction.image_only


def test_each_picture_alone_is_tagged_as_among_others(run: TrainedRun, trained_run: Path) -> None:
    rows = of_split(trained_run, "test")[:6]
    together = paired(run, rows)
    for row, expected in zip(rows, together, strict=True):
        assert paired(run, [row]) == [expected]


def test_the_bytes_of_a_file_are_tagged_as_the_file(run: TrainedRun, trained_run: Path) -> None:
    row = of_split(trained_run, "test")[0]
    (found,) = run.predict([row["path"].read_bytes()], [row["captions"][0]])
    assert [found] == paired(run, [row])


def test_workers_and_the_size_of_pieces_change_nothing(trained_run: Path, retrained: Make) -> None:
    rows = of_split(trained_run, "test")
    folder = retrained({"hardware": {"auto": {"num_workers": 2, "extract_batch": 7}}}, stages=())
    assert_as_evaluated(paired(mmhash.load(folder), rows), trained_run)


def test_the_batch_is_measured_once_and_not_for_every_prediction(
    trained_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def measured(*arguments: object) -> int:  # on a GPU three passes of the towers
        asked.append(arguments)
        return 16

    monkeypatch.setattr(trained, "extraction_batch", measured)
    run, rows = mmhash.load(trained_run), of_split(trained_run, "test")[:3]
    for row in rows:
        paired(run, [row])
    assert len(asked) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_run_on_the_gpu_tags_nearly_as_it_evaluated(retrained: Make) -> None:
    """Not to the last bit: another number of rows at once may round differently there."""
    changes = {"hardware": {"auto": {"device": "cuda", "pin_memory": True}}}
    folder = retrained(changes, (*PREPARED, *TRAINED))
    rows = of_split(folder, "test")
    found = paired(mmhash.load(folder), rows)
    tags = pq.read_table(folder / "predictions/test/tags.parquet").to_pylist()
    alike = [
        [tag.name for tag in prediction.tags] == expected["tags"]
        for prediction, expected in zip(found, tags, strict=True)
    ]
    assert len(alike) == len(rows)
    assert np.mean(alike) > 0.8


def test_soft_codes_and_queries_belong_together(run: TrainedRun, trained_run: Path) -> None:
    rows = of_split(trained_run, "test")[:5]
    captions = [rows[0]["captions"][0], None, rows[2]["captions"][1], None, "a dog"]
    encoded = run.encode([row["path"] for row in rows], captions)
    assert encoded.soft.shape == (5, 16)
    assert encoded.hashed
    assert np.array_equal(encoded.queries, pack((encoded.soft >= 0).astype(np.uint8)))
    assert encoded.image_only.tolist() == [False, True, False, True, False]
    assert encoded.logits is not None
    assert encoded.logits.shape == (5, 80)


def test_without_a_caption_scores_are_those_that_the_stated_accuracy_is_of(
    run: TrainedRun, trained_run: Path
) -> None:
    from mmhash.metrics.multilabel import multilabel_metrics

    rows = of_split(trained_run, "test")
    found = run.predict([row["path"] for row in rows], top_n=80)
    assert all(prediction.image_only for prediction in found)
    names = [entry["name"] for entry in read_json(trained_run / "data/categories.json")]
    scores = np.array(
        [[{t.name: t.score for t in one.tags}[name] for name in names] for one in found]
    )
    labels = np.load(trained_run / "predictions/test/labels.npy")
    figures = multilabel_metrics(scores.astype(np.float32), labels, 0.5)
    stated = run.accuracy(image_only=True)
    assert stated is not None
    assert figures["mAP"] == pytest.approx(stated["mAP"], abs=1e-9)
    assert stated["mAP_low"] < stated["mAP"] < stated["mAP_high"]


def test_a_caption_changes_the_prediction_and_is_never_a_zero_vector(
    run: TrainedRun, trained_run: Path
) -> None:
    row = of_split(trained_run, "test")[0]
    codes = [
        run.encode([row["path"]], [caption]).soft
        for caption in (None, row["captions"][0], "a bus in a street")
    ]
    assert not np.allclose(codes[0], codes[1])
    assert not np.allclose(codes[1], codes[2])
    texts = run.stand_ins.texts(run.stand_ins.unit_images[:3])
    assert (np.linalg.norm(texts, axis=1) > 1).all()


def test_thresholds_of_pictures_alone_are_their_own(run: TrainedRun, trained_run: Path) -> None:
    cuts = read_json(trained_run / "predictions/thresholds.json")
    rows = of_split(trained_run, "test")
    for captions, limit in (
        (None, cuts["image_only"]["knn"]["global"]),
        ([row["captions"][0] for row in rows], cuts["knn"]["global"]),
    ):
        for prediction in run.predict([row["path"] for row in rows], captions, top_n=80):
            for tag in prediction.tags:
                assert tag.chosen == (np.float32(tag.score) >= limit)


def test_voters_carry_caption_categories_and_picture(run: TrainedRun, trained_run: Path) -> None:
    images = pq.read_table(trained_run / "data/images.parquet").to_pylist()
    by_id = {row["image_id"]: row for row in images}
    names = {
        entry["id"]: entry["name"] for entry in read_json(trained_run / "data/categories.json")
    }
    (found,) = paired(run, of_split(trained_run, "test")[:1])
    for voter in found.neighbours:
        row = by_id[voter.image_id]
        assert voter.caption == row["captions"][0]
        assert sorted(voter.categories) == sorted(names[c] for c in row["category_ids"])
        assert voter.picture is not None
        assert voter.picture.name == row["file_name"]
    assert sum(voter.share for voter in found.neighbours) <= 1 + 1e-6
    json.dumps(found.as_json())


@pytest.mark.parametrize("head", ["classifier", "hybrid"])
def test_the_other_heads_tag_as_evaluate_did(head: str, retrained: Make) -> None:
    folder = retrained(
        {"knn": {"head": head}, "evaluate": {"thresholds": "per_class"}}, ["evaluate"]
    )
    rows = of_split(folder, "test")
    assert_as_evaluated(paired(mmhash.load(folder), rows), folder)
    alone = mmhash.load(folder).predict([rows[0]["path"]])
    assert alone[0].image_only


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"name": "direction_only"}},
        {"model": {"name": "mlp"}},
        {"model": {"name": "zeroshot"}, "knn": {"distance": "cosine"}},
        {"model": {"name": "shallow"}, "knn": {"distance": "asymmetric"}},
        {
            "model": {"inputs": "image"},
            "index": {"captions": "mean"},
            "knn": {"distance": "hybrid"},
        },
        {"index": {"captions": "all"}},
        {"encoder": {"unfreeze": "last_n", "last_n": 1}, "features": {"dtype": "float32"}},
        {"model": {"name": "agch"}, "agch": TINY_AGCH},
        {"model": {"name": "ucmfh"}, "ucmfh": {**TINY_UCMFH, "attention": "sample"}},
    ],
    ids=lambda changes: "-".join(str(next(iter(block.values()))) for block in changes.values()),
)
def test_every_method_tags_as_evaluate_did(changes: dict[str, Any], retrained: Make) -> None:
    folder = retrained(changes)
    run = mmhash.load(folder)
    rows = of_split(folder, "test")
    assert_as_evaluated(paired(run, rows), folder)
    reads_both = run.inputs == "both"
    (alone,) = run.predict([rows[0]["path"]])
    assert alone.image_only == reads_both
    assert ("image_only" in read_json(folder / "metrics/eval.json")["test"]) == reads_both


def test_a_model_of_captions_alone_asks_for_one(retrained: Make) -> None:
    folder = retrained({"model": {"inputs": "caption"}})
    rows = of_split(folder, "test")[:3]
    run = mmhash.load(folder)
    assert len(paired(run, rows)) == 3
    with pytest.raises(InputError, match="reads captions alone"):
        run.predict([rows[0]["path"]])


def test_a_method_without_codes_of_single_pairs_is_refused(retrained: Make) -> None:
    folder = retrained({"model": {"name": "ucmfh"}, "ucmfh": TINY_UCMFH})
    with pytest.raises(InputError, match=r"ucmfh\.attention=sample"):
        mmhash.load(folder).predict([of_split(folder, "test")[0]["path"]])


def test_new_categories_are_scored_by_votes_alone(trained_run: Path, retrained: Make) -> None:
    folder = retrained({"knn": {"head": "classifier"}}, ["evaluate"])
    run, row = mmhash.load(folder), of_split(folder, "test")[0]
    expected = paired(run, [row], top_n=80)[0]
    nearest = expected.neighbours[0].image_id
    index = folder / "index"
    labels = np.load(index / "labels.npy")
    new = (np.load(index / "image_id.npy") == nearest).astype(np.uint8)
    np.save(index / "labels.npy", np.column_stack([labels, new]))
    categories = read_json(folder / "data/categories.json")
    write_json(folder / "data/categories.json", [*categories, {"id": 999, "name": "novelty"}])
    found = paired(mmhash.load(folder), [row], top_n=81)[0]
    scores = {tag.name: tag for tag in found.tags}
    assert scores["novelty"].score == pytest.approx(expected.neighbours[0].share, abs=1e-6)
    cut = read_json(folder / "predictions/thresholds.json")["knn"]["global"]
    assert scores["novelty"].chosen == (scores["novelty"].score >= cut)
    assert [tag for tag in found.tags if tag.name != "novelty"] == expected.tags


def test_pictures_that_cannot_be_read_are_named_and_the_others_stream_on(
    run: TrainedRun, trained_run: Path, tmp_path: Path
) -> None:
    row = of_split(trained_run, "test")[0]
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    whole = row["path"].read_bytes()
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole[: len(whole) // 2])
    images = [text, row["path"], cut, row["path"], tmp_path / "absent.jpg"]
    outcomes = list(run.stream(images))
    assert [isinstance(outcome, str) for outcome in outcomes] == [True, False, True, False, True]
    assert "truncated" in str(outcomes[2])
    with pytest.raises(InputError, match=r"text\.jpg \(not a picture"):
        run.predict(images)
    with pytest.raises(InputError, match=r"text\.jpg .*cut\.jpg .*absent\.jpg"):
        run.encode(images)


@pytest.mark.parametrize(
    ("captions", "message"),
    [
        (["", "b"], "caption is empty"),
        (["a"], "1 captions for 2 pictures"),
        ("ab", "must be a list"),
        (["\udcff", "b"], "no valid UTF-8"),
    ],
)
def test_captions_that_do_not_fit_are_one_line(
    run: TrainedRun, trained_run: Path, captions: Any, message: str
) -> None:
    path = of_split(trained_run, "test")[0]["path"]
    with pytest.raises(InputError, match=message):
        run.predict([path, path], captions)


@pytest.mark.parametrize(
    "caption",
    [
        "x" * 100_000,
        "a cat " * 20_000,
        "\U0001f600\u200d\U0001f525",
        "שלום עולם",
        "<script>",
        "a\0b",
    ],
)
def test_any_text_is_a_caption(run: TrainedRun, trained_run: Path, caption: str) -> None:
    path = of_split(trained_run, "test")[0]["path"]
    (found,) = run.predict([path], [caption])
    assert np.isfinite([tag.score for tag in found.tags]).all()


def test_a_picture_of_any_mode_and_shape_is_tagged(run: TrainedRun, tmp_path: Path) -> None:
    for number, (mode, size) in enumerate((("L", (1, 1)), ("RGBA", (3, 900)), ("P", (64, 64)))):
        path = tmp_path / f"{number}.png"
        Image.new(mode, size).save(path)
        (found,) = run.predict([path])
        assert np.isfinite([tag.score for tag in found.tags]).all()


@pytest.mark.parametrize(
    "name",
    ["params.yaml", "model/config.json", "index/index.faiss", "predictions/thresholds.json"],
)
def test_a_missing_piece_is_named_with_the_mend(name: str, retrained: Make) -> None:
    folder = retrained({})
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"{name}: no such file; run dvc repro"):
        mmhash.load(folder)


def test_a_run_on_ready_made_features_says_that_it_has_no_encoder(retrained: Make) -> None:
    folder = retrained({"run": {"dataset": "wiki"}}, stages=())
    with pytest.raises(InputError, match=r"run\.dataset=wiki has no encoder"):
        mmhash.load(folder)


def test_another_encoder_than_that_of_the_features_is_refused(retrained: Make) -> None:
    other = {"datasets": {"coco2014": {"encoder": {"checkpoint": "encoders/tiny-siglip-naflex"}}}}
    folder = retrained(other, stages=())
    with pytest.raises(InputError, match=r"tiny-siglip-naflex: not the encoder"):
        mmhash.load(folder).predict([of_split(folder, "test")[0]["path"]])


def test_thresholds_from_before_pictures_alone_were_evaluated_are_named(retrained: Make) -> None:
    folder = retrained({})
    path = folder / "predictions/thresholds.json"
    cuts = read_json(path)
    del cuts["image_only"]
    write_json(path, cuts)
    with pytest.raises(InputError, match="no thresholds for pictures without a caption"):
        mmhash.load(folder).predict([of_split(folder, "test")[0]["path"]])


def test_accuracy_is_not_stated_of_votes_that_nobody_measured(retrained: Make) -> None:
    folder = retrained({})
    lock = "stages:\n  evaluate:\n    params:\n      params.yaml:\n        knn:\n          k: {}\n"
    k = mmhash.load(folder).params.knn.k
    (folder / "dvc.lock").write_text(lock.format(k))
    assert mmhash.load(folder).accuracy(image_only=True) is not None
    (folder / "dvc.lock").write_text(lock.format(k + 1))
    run = mmhash.load(folder)
    assert run.moved == f"knn.k is {k} and was {k + 1} when evaluate ran"
    assert (run.accuracy(image_only=True), run.accuracy(image_only=False)) == (None, None)


def test_missing_pictures_of_the_database_leave_a_voter_without_one(retrained: Make) -> None:
    folder = retrained({})
    row = of_split(folder, "test")[0]
    picture = row["path"].read_bytes()
    shutil.rmtree(folder / "pictures")
    (found,) = mmhash.load(folder).predict([picture])
    assert all(voter.picture is None for voter in found.neighbours)


def test_importing_the_package_does_not_import_torch() -> None:
    import subprocess
    import sys

    code = "import mmhash, sys; assert 'torch' not in sys.modules and callable(mmhash.load)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_example_of_the_readme_runs(
    repository: Path,
    retrained: Make,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    readme = (repository / "README.md").read_text(encoding="utf-8")
    examples = [
        block.split("```")[0]
        for block in readme.split("```python\n")[1:]
        if "mmhash.load(" in block.split("```")[0]
    ]
    assert examples
    folder = retrained({})
    monkeypatch.chdir(folder)
    for example in examples:
        for name in re.findall(r'"(data/[^"]+\.jpg)"', example):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(of_split(folder, "test")[0]["path"], name)
        exec(example, {})
    assert capsys.readouterr().out
