import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmhash.data.sample import draw
from mmhash.data.sample.captions import describe
from mmhash.data.sample.categories import CATEGORY_IDS
from mmhash.data.sample.draw import (
    SAMPLE_COUNTS,
    SAMPLE_SEED,
    draw_sample,
    missing_pictures,
    plan,
    sample_is_complete,
    stream_pairs,
)
from mmhash.data.sample.labels import random_content
from mmhash.data.sample.scene import random_scene
from mmhash.data.sample.words import named_categories
from mmhash.errors import InputError
from mmhash.seeding import numpy_stream

TINY = {"train": 7, "restval": 4, "val": 3, "test": 5}


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("drawn")
    draw_sample(root, seed=1, workers=1, counts=TINY)
    return root


@pytest.fixture
def root(drawn, tmp_path) -> Path:
    for name, data in contents(drawn).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path


@pytest.fixture(scope="module")
def planned_labels() -> dict[str, list[Counter]]:
    labels: dict[str, list[Counter]] = {split: [] for split in SAMPLE_COUNTS}
    for picture in plan(SAMPLE_SEED):
        stream = numpy_stream(SAMPLE_SEED, "sample", picture.number, "scene")
        labels[picture.split].append(random_content(stream, picture.required)[1])
    return labels


def test_every_category_has_ten_test_positives_and_more_in_train(planned_labels):
    positives = {
        split: Counter(name for labels in rows for name in labels)
        for split, rows in planned_labels.items()
    }
    for name in CATEGORY_IDS:
        assert positives["test"][name] >= 10
        assert positives["train"][name] >= 27
        assert positives["restval"][name] >= 9
        assert positives["val"][name] >= 6


def test_the_splits_have_their_sizes(planned_labels):
    assert {split: len(rows) for split, rows in planned_labels.items()} == SAMPLE_COUNTS
    identifiers = [picture.image_id for picture in plan(SAMPLE_SEED)]
    assert len(set(identifiers)) == sum(SAMPLE_COUNTS.values())


def test_labels_are_as_long_tailed_as_planned(planned_labels):
    rows = [labels for split in planned_labels.values() for labels in split]
    frequency = Counter(name for labels in rows for name in labels)
    assert frequency.most_common(1)[0][0] == "person"
    assert 0.35 < frequency["person"] / len(rows) < 0.46
    assert min(frequency.values()) / len(rows) < 0.016
    assert 2.6 < np.mean([len(labels) for labels in rows]) < 3.3
    assert 0.005 < np.mean([not labels for labels in rows]) < 0.02


@pytest.mark.parametrize("seed", [3, 4])
def test_quotas_hold_for_any_seed(seed):
    members = [picture for picture in plan(seed) if picture.split == "test"]
    assert any(picture.required for picture in members)
    positives: Counter = Counter()
    for picture in members:
        stream = numpy_stream(seed, "sample", picture.number, "scene")
        positives.update(random_content(stream, picture.required)[1].keys())
    assert min(positives[name] for name in CATEGORY_IDS) >= 10


def test_the_number_of_workers_does_not_change_a_byte(drawn, tmp_path):
    draw_sample(tmp_path, seed=1, workers=2, counts=TINY)
    assert contents(tmp_path) == contents(drawn)


def test_another_seed_draws_other_pictures(drawn, tmp_path):
    draw_sample(tmp_path, seed=2, workers=1, counts={"test": 2})
    assert not set(contents(tmp_path).values()) & {
        data for name, data in contents(drawn).items() if name.endswith(".jpg")
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")
def test_the_annotations_are_read_by_the_coco_tools(drawn, capsys):
    coco = pytest.importorskip("pycocotools.coco").COCO
    for folder, count in (("train2014", 7), ("val2014", 12)):
        instances = coco(drawn / "annotations" / f"instances_{folder}.json")
        captions = coco(drawn / "annotations" / f"captions_{folder}.json")
        assert len(instances.getImgIds()) == count
        assert sorted(instances.getCatIds()) == sorted(CATEGORY_IDS.values())
        for image_id in instances.getImgIds():
            info = instances.loadImgs(image_id)[0]
            with Image.open(drawn / "images" / folder / info["file_name"]) as image:
                assert image.size == (info["width"], info["height"])
            things = instances.loadAnns(instances.getAnnIds(image_id))
            for thing in things:
                mask = instances.annToMask(thing)
                assert mask.sum() == pytest.approx(thing["area"], rel=0.01)
            present = {instances.loadCats(thing["category_id"])[0]["name"] for thing in things}
            texts = captions.loadAnns(captions.getAnnIds(image_id))
            assert len(texts) in (5, 6)
            for text in texts:
                assert named_categories(text["caption"]) <= present


def test_the_split_file_agrees_with_the_annotations(drawn):
    dataset = json.loads((drawn / "dataset_coco.json").read_text())
    assert dataset["dataset"] == "coco"
    assert Counter(image["split"] for image in dataset["images"]) == TINY
    captions = {}
    for folder in ("train2014", "val2014"):
        content = json.loads((drawn / "annotations" / f"captions_{folder}.json").read_text())
        captions |= {text["id"]: text for text in content["annotations"]}
    seen = []
    for image in dataset["images"]:
        assert image["filepath"] == ("train2014" if image["split"] == "train" else "val2014")
        assert (drawn / "images" / image["filepath"] / image["filename"]).exists()
        assert image["sentids"] == [sentence["sentid"] for sentence in image["sentences"]]
        for sentence in image["sentences"]:
            assert captions[sentence["sentid"]]["caption"] == sentence["raw"]
            assert captions[sentence["sentid"]]["image_id"] == image["cocoid"]
            assert sentence["imgid"] == image["imgid"]
            assert sentence["tokens"] == sentence["raw"].lower().replace(",", "").strip(".").split()
            seen.append(sentence["sentid"])
    assert sorted(seen) == sorted(captions)


def test_a_complete_sample_is_left_alone(root):
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert sample_is_complete(root)
    assert missing_pictures(root) == []
    draw_sample(root, seed=1, workers=1, counts=TINY)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_a_deleted_and_a_truncated_picture_are_drawn_again(root, drawn):
    first, second, third = sorted((root / "images" / "val2014").iterdir())[:3]
    first.unlink()
    second.write_bytes(second.read_bytes()[:-20])
    untouched = third.stat().st_mtime_ns
    assert sorted(missing_pictures(root)) == [first, second]
    assert not sample_is_complete(root)
    draw_sample(root, seed=1, workers=1, counts=TINY)
    assert contents(root) == contents(drawn)
    assert third.stat().st_mtime_ns == untouched
    assert sample_is_complete(root)


def test_a_deleted_annotation_file_is_written_again(root, drawn):
    (root / "dataset_coco.json").unlink()
    assert missing_pictures(root) == []
    assert not sample_is_complete(root)
    draw_sample(root, seed=1, workers=1, counts=TINY)
    assert contents(root) == contents(drawn)


def test_an_interrupted_drawing_goes_on_where_it_stopped(tmp_path, drawn, monkeypatch):
    painted = []

    def paint_four(scene, rng):
        if len(painted) == 4:
            raise KeyboardInterrupt
        painted.append(scene)
        return original(scene, rng)

    original = draw.paint
    monkeypatch.setattr(draw, "paint", paint_four)
    with pytest.raises(KeyboardInterrupt):
        draw_sample(tmp_path, seed=1, workers=1, counts=TINY)
    assert not sample_is_complete(tmp_path)
    assert not (tmp_path / "annotations").exists()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.jpg")}
    assert len(kept) == 4
    monkeypatch.setattr(draw, "paint", original)
    draw_sample(tmp_path, seed=1, workers=1, counts=TINY)
    assert contents(tmp_path) == contents(drawn)
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())


def test_a_sample_of_an_older_recipe_is_drawn_anew(root, drawn):
    record = json.loads((root / "sample.json").read_text())
    (root / "sample.json").write_text(json.dumps(record | {"recipe": "older"}))
    picture = next(iter((root / "images" / "train2014").iterdir()))
    picture.write_bytes(b"\xff\xd8 an older drawing \xff\xd9")
    assert not sample_is_complete(root)
    draw_sample(root, seed=1, workers=1, counts=TINY)
    assert contents(root) == contents(drawn)


def test_drawing_with_another_seed_leaves_no_picture_of_the_old_one(root):
    draw_sample(root, seed=2, workers=1, counts={"val": 2})
    assert len(list(root.rglob("*.jpg"))) == 2
    assert sample_is_complete(root)


def test_an_empty_folder_lacks_every_picture(tmp_path):
    assert len(missing_pictures(tmp_path / "none")) == sum(SAMPLE_COUNTS.values())
    assert not sample_is_complete(tmp_path / "none")


def test_annotations_of_others_are_not_overwritten(tmp_path):
    (tmp_path / "annotations").mkdir()
    with pytest.raises(InputError, match="not a drawn sample"):
        draw_sample(tmp_path, counts=TINY)


def test_streamed_pairs_are_reproducible_and_apart_from_the_sample(tmp_path):
    pairs = list(stream_pairs(1, 0, 4))
    again = list(stream_pairs(1, 2, 4))
    assert [p[0].tobytes() for p in pairs[2:]] == [p[0].tobytes() for p in again]
    assert [p[1:] for p in pairs[2:]] == [p[1:] for p in again]
    for _, captions, names in pairs:
        assert all(named_categories(caption) <= names for caption in captions)
    scenes = [random_scene(numpy_stream(1, "sample", number, "scene")) for number in range(4)]
    assert [describe(s, np.random.default_rng(0), 5) for s in scenes] != [p[1] for p in pairs]
    assert [s.names for s in scenes] != [names for _, _, names in pairs]
