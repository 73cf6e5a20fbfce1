"""The plots of a run as files."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmhash.errors import InputError
from mmhash.files import read_table, write_npy, write_table
from mmhash.plots import figures
from mmhash.plots.tables import read_csv
from mmhash.plots.write import write_plots

ALWAYS = {
    *("training", "precision_recall", "frequency", "classes_knn", "classes_classifier"),
    *("data_histograms", "class_frequency", "reliability", "confusion"),
}
OF_CODES = {
    *("h_histogram", "bit_balance", "bit_correlation", "codes_by_epoch"),
    "retrieval_by_distance",
}
OF_THE_HYBRID = {"classes_hybrid"}
ACROSS = {
    *("across_by_distance", "across_top_n", "sheet_image_to_text", "sheet_text_to_image"),
    "agch_diagnostics",
}
ALL = ALWAYS | OF_CODES | OF_THE_HYBRID | ACROSS
SHEETS = {"neighbours", "worst"}  # pictures without a table


def names(folder: Path, ending: str) -> set[str]:
    return {path.stem for path in folder.glob(f"*.{ending}")}


def text(out: Path, name: str) -> str:
    return (out / f"{name}.csv").read_text()


def test_each_table_has_its_picture(make_stages: Callable[..., Any], tmp_path: Path) -> None:
    write_plots(**make_stages(classes=8).arguments(tmp_path))
    assert names(tmp_path, "csv") == ALL
    assert names(tmp_path / "png", "png") == ALL | SHEETS
    for path in (tmp_path / "png").glob("*.png"):
        with Image.open(path) as picture:
            assert picture.width > 200
            # No clock and no version, and more than a blank sheet.
            assert not {"Software", "Creation Time", "date"} & set(picture.info)
            assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 20
    assert {"knn", "classifier", "hybrid", "zeroshot"} <= set(
        re.findall(r"^\w+", text(tmp_path, "frequency"), re.M)
    )


def test_two_runs_write_the_same_bytes(make_stages: Callable[..., Any], tmp_path: Path) -> None:
    arguments = make_stages(classes=5, epochs=2).arguments(tmp_path / "a")
    write_plots(**arguments)
    write_plots(**arguments | {"out": tmp_path / "b"})
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.*"))
    assert len(files) == 2 * len(ALL) + len(SHEETS)
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_without_hash_prototypes_and_captions_the_rest_is_drawn(
    make_stages: Callable[..., Any], tmp_path: Path
) -> None:
    stages = make_stages(classes=3, epochs=1)
    stages.without("zeroshot")
    stages.without_codes()
    stages.without_across()
    for entry in ("captions_per_image", "caption_words"):
        stages.statistics[entry] = {"histogram": {}}
    stages.json("data/statistics.json", stages.statistics)
    write_plots(**stages.arguments(tmp_path, bits=None))
    assert names(tmp_path, "csv") == ALL
    assert names(tmp_path / "png", "png") == ALWAYS | OF_THE_HYBRID | SHEETS
    absent = OF_CODES | ACROSS
    assert {len(text(tmp_path, name).splitlines()) for name in absent} == {1}  # a header
    assert "zeroshot" not in text(tmp_path, "frequency") + text(tmp_path, "precision_recall")
    assert "words" not in text(tmp_path, "data_histograms")
    assert text(tmp_path, "classes_knn").splitlines()[-1].endswith(",0,,,,")  # no positive


def test_zero_shot_has_every_table_and_those_of_a_training_are_a_header(
    make_stages: Callable[..., Any], tmp_path: Path
) -> None:
    stages = make_stages(classes=5, epochs=0)  # nothing is trained
    stages.without("classifier", "hybrid")
    stages.without_codes()
    stages.without_across()
    write_plots(**stages.arguments(tmp_path, bits=None))
    assert names(tmp_path, "csv") == ALL
    absent = OF_CODES | OF_THE_HYBRID | ACROSS | {"training", "classes_classifier"}
    assert names(tmp_path / "png", "png") == (ALL | SHEETS) - absent
    for name in ALL:
        rows = text(tmp_path, name).splitlines()
        assert (len(rows) == 1) == (name in absent)
    assert text(tmp_path, "classes_hybrid") == text(tmp_path, "classes_classifier")
    assert text(tmp_path, "classes_hybrid").startswith("class,images,support,AP")
    heads = set(re.findall(r"^\w+", text(tmp_path, "reliability"), re.M)) - {"head"}
    assert heads == {"knn", "zeroshot"}


def test_figures_of_classes_use_the_chosen_thresholds(
    make_stages: Callable[..., Any], tmp_path: Path, no_pictures: None
) -> None:
    stages = make_stages(classes=3, epochs=1)
    cuts = {head: entry | {"per_class": [2.0] * 3} for head, entry in stages.cuts.items()}
    stages.json("predictions/thresholds.json", cuts)
    write_plots(**stages.arguments(tmp_path / "a"))
    write_plots(**stages.arguments(tmp_path / "b", thresholds="per_class"))

    def recalls(out: Path) -> list[str]:
        return [line.split(",")[5] for line in text(out, "classes_knn").splitlines()[1:3]]

    assert recalls(tmp_path / "b") == ["0", "0"]  # no score reaches 2
    assert all(float(recall) > 0.3 for recall in recalls(tmp_path / "a"))
    confused = [line for line in text(tmp_path / "b", "confusion").splitlines() if "knn" in line]
    assert confused
    assert {line.split(",")[-2] for line in confused} == {"0"}


def test_the_training_curve_is_that_of_the_history(
    make_stages: Callable[..., Any], tmp_path: Path, no_pictures: None
) -> None:
    stages = make_stages(classes=3, epochs=4)
    write_plots(**stages.arguments(tmp_path))
    history = read_csv(stages.root / "model/history.csv")
    drawn = [
        float(line.split(",")[-1])
        for line in text(tmp_path, "training").splitlines()
        if "mAP, classifier head" in line
    ]
    assert drawn == pytest.approx(history["val_mAP"], rel=1e-5)
    assert "pairwise" not in text(tmp_path, "training")  # zero at every epoch


def test_scores_that_do_not_fit_the_categories_are_named(
    make_stages: Callable[..., Any], tmp_path: Path
) -> None:
    stages = make_stages(classes=3, epochs=1)
    write_npy(stages.root / "predictions/test/knn.npy", np.zeros((300, 4), np.float32))
    with pytest.raises(InputError, match=r"knn\.npy has shape \(300, 4\)"):
        write_plots(**stages.arguments(tmp_path))
    assert not list(tmp_path.iterdir())


def test_neighbours_that_are_not_of_these_images_are_named(
    make_stages: Callable[..., Any], tmp_path: Path
) -> None:
    stages = make_stages(classes=3, epochs=1)
    path = stages.root / "predictions/test/neighbours.parquet"
    write_table(path, read_table(path).slice(0, 299))
    with pytest.raises(InputError, match=r"neighbours\.parquet has 299 rows, must be 300"):
        write_plots(**stages.arguments(tmp_path))
    assert not list(tmp_path.iterdir())


def test_the_sheets_are_of_the_head_that_names_the_tags_with_its_thresholds(
    make_stages: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, str] = {}

    def keep(path: Path, figure: figures.Figure, _dpi: int) -> None:
        written = [text.get_text() for axis in figure.axes for text in axis.texts]
        drawn[path.stem] = "\n".join(written)

    monkeypatch.setattr(figures, "save_png", keep)
    stages = make_stages(classes=6, epochs=1)
    stages.cuts["hybrid"] |= {"per_class": [0.413] * 6}
    stages.json("predictions/thresholds.json", stages.cuts)
    arguments = stages.arguments(tmp_path, head="hybrid", thresholds="per_class")
    write_plots(**arguments | {"distance": "cosine"})
    assert "(sample, test, 32 bits)" in drawn["neighbours"]
    assert "Tags of the hybrid head" in drawn["neighbours"]
    assert "≥ 0.413" in drawn["neighbours"]
    assert "1 − cos 3.000" in drawn["neighbours"]
    assert "Worst mistakes of the hybrid head" in drawn["worst"]
    assert "< 0.413" in drawn["worst"]
    with pytest.raises(InputError, match=r"knn\.head is 'other'"):
        write_plots(**arguments | {"head": "other"})


def test_without_a_mistake_there_is_no_sheet_of_mistakes(
    make_stages: Callable[..., Any], tmp_path: Path
) -> None:
    stages = make_stages(classes=3, epochs=1)
    stages.without("classifier", "hybrid", "zeroshot")
    write_npy(stages.root / "predictions/test/knn.npy", stages.labels.astype(np.float32))
    write_plots(**stages.arguments(tmp_path))
    assert names(tmp_path / "png", "png") & SHEETS == {"neighbours"}


def test_a_missing_head_is_named(make_stages: Callable[..., Any], tmp_path: Path) -> None:
    stages = make_stages(classes=3, epochs=1)
    (stages.root / "predictions/test/classifier.npy").unlink()
    with pytest.raises(InputError, match=r"classifier\.npy: no such file"):
        write_plots(**stages.arguments(tmp_path))
