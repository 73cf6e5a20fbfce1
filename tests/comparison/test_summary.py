from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from mmhash.ablations.study import Row, Study
from mmhash.comparison.summary import (
    Line,
    Scores,
    figure,
    fold_lines,
    paired_difference,
    summarise,
)
from mmhash.errors import InputError
from mmhash.metrics.bootstrap import resample_counts
from mmhash.seeding import numpy_stream

SAMPLES = 40
Make = Callable[..., Any]


def study(**changes: Any) -> Study:
    rows = (Row("base"), Row("better", {"knn.k": 5}))
    return Study(
        **{"id": "X", "title": "t", "baseline": "base", "rows": rows, "heads": ("knn",)} | changes
    )


def lines_of(definition: Study, runs: dict[str, list[Any]]) -> dict[str, Line]:
    overrides = {row.name: dict(row.overrides) for row in definition.rows}
    found = summarise(definition, runs, overrides, Scores(SAMPLES, seed=3))
    return {line.name: line for line in found}


def plain_map(scores: np.ndarray, labels: np.ndarray) -> float:
    classes = np.flatnonzero(labels.any(axis=0))
    return float(np.mean([average_precision_score(labels[:, c], scores[:, c]) for c in classes]))


def test_the_difference_is_that_of_explicitly_resampled_images(
    make_run: Make, labels: np.ndarray
) -> None:
    base = [make_run(f"base-s{s}", s, 1.0) for s in (1, 2, 3)]
    better = [make_run(f"better-s{s}", 10 + s, 0.4) for s in (1, 2, 3)]
    cell = lines_of(study(), {"base": base, "better": better})["better"].cells["knn"]
    assert cell is not None
    assert cell.difference is not None
    counts = resample_counts(len(labels), SAMPLES, numpy_stream(3, "ablation"))
    draws = []
    for column in counts.T:
        rows = np.repeat(np.arange(len(labels)), column)
        draws.append(
            np.mean(
                [
                    plain_map(b.heads["knn"][rows], labels[rows])
                    - plain_map(a.heads["knn"][rows], labels[rows])
                    for a, b in zip(base, better, strict=True)
                ]
            )
        )
    wanted = [plain_map(run.heads["knn"], labels) for run in better]
    theirs = [plain_map(run.heads["knn"], labels) for run in base]
    mean = np.mean(wanted) - np.mean(theirs)
    low, high = np.percentile(draws, [2.5, 97.5]) - np.mean(draws) + mean
    np.testing.assert_allclose(cell.values, wanted, atol=1e-9)
    np.testing.assert_allclose(cell.difference, [mean, low, high], atol=1e-9)


def test_pairing_removes_what_runs_have_in_common() -> None:
    rng = np.random.default_rng(1)
    common = rng.normal(size=500)
    mean, low, high = paired_difference([0.6], [0.5], [common + 0.6], [common + 0.5])
    np.testing.assert_allclose([mean, low, high], 0.1, atol=1e-12)


def test_a_row_that_equals_the_baseline_has_no_difference(make_run: Make) -> None:
    run = [make_run("base-s1", 1, 1.0)]
    found = lines_of(study(), {"base": run, "better": run})
    assert found["base"].cells["knn"].difference is None  # type: ignore[union-attr]
    assert found["better"].cells["knn"].difference == (0.0, 0.0, 0.0)  # type: ignore[union-attr]


def test_rows_read_their_own_head_and_compare_with_that_of_the_baseline(
    make_run: Make, labels: np.ndarray
) -> None:
    definition = study(
        heads=(),
        baseline="vote",
        rows=(Row("vote", head="knn"), Row("logits", head="classifier"), Row("mix", head="hybrid")),
        also=("test.{head}.mAP", "codes.balance"),
    )
    run = [make_run("base-s1", 1, 0.8, ("knn", "classifier"), codes={"balance": 0.25})]
    found = lines_of(definition, {"vote": run, "logits": run, "mix": run})
    cell = found["logits"].cells[""]
    assert cell is not None
    assert cell.difference is not None
    vote, logits = (plain_map(run[0].heads[head], labels) for head in ("knn", "classifier"))
    assert cell.values == pytest.approx((logits,), abs=1e-9)
    assert cell.difference[0] == pytest.approx(logits - vote, abs=1e-9)
    assert found["logits"].also == {"mAP": pytest.approx((logits,)), "balance": (0.25,)}
    assert found["mix"].cells[""] is None
    assert found["mix"].also["mAP"] == ()


def test_one_figure_of_two_heads_is_two_columns(make_run: Make) -> None:
    runs = {name: [make_run(name, 1, 1.0, ("knn", "classifier"))] for name in ("base", "better")}
    keys = ("test.knn.mAP", "test.classifier.mAP", "val.knn.mAP")
    found = lines_of(study(also=keys), runs)["better"].also
    assert list(found) == ["mAP, KNN", "mAP, classifier", "val mAP, KNN"]
    assert found["mAP, KNN"] != found["mAP, classifier"]


def test_a_row_may_have_a_baseline_of_its_own(make_run: Make) -> None:
    rows = (Row("base"), Row("other"), Row("row", baseline="other"))
    runs = {name: [make_run(name, i, 0.5 + i)] for i, name in enumerate(("base", "other", "row"))}
    found = lines_of(study(rows=rows), runs)
    cell, other = found["row"].cells["knn"], found["other"].cells["knn"]
    assert cell is not None
    assert other is not None
    assert cell.difference is not None
    assert cell.difference[0] == pytest.approx(cell.values[0] - other.values[0])
    assert found["row"].baseline == "other"


def test_the_ensemble_averages_the_scores_of_the_folds(make_run: Make, labels: np.ndarray) -> None:
    rows = (Row("base"), *(Row(f"fold {i}") for i in range(3)))
    definition = study(rows=rows, kind="folds")
    runs = {row.name: [make_run(row.name, i, 1.0)] for i, row in enumerate(rows)}
    scores = Scores(SAMPLES, seed=3)
    lines = summarise(definition, runs, {row.name: {} for row in rows}, scores)
    mean, ensemble = fold_lines(definition, lines, runs, scores)
    folds = [runs[f"fold {i}"][0].heads["knn"].astype(float) for i in range(3)]
    assert mean.cells["knn"].values == pytest.approx(  # type: ignore[union-attr]
        [plain_map(fold, labels) for fold in folds], abs=1e-9
    )
    cell = ensemble.cells["knn"]
    assert cell is not None
    assert cell.difference is not None
    assert cell.values == pytest.approx((plain_map(sum(folds) / 3, labels),), abs=1e-9)  # type: ignore[arg-type]
    base = plain_map(runs["base"][0].heads["knn"], labels)
    assert cell.difference[0] == pytest.approx(cell.values[0] - base, abs=1e-9)
    assert cell.values[0] > max(mean.cells["knn"].values)  # type: ignore[union-attr]


def test_runs_on_other_images_are_not_compared(make_run: Make) -> None:
    base = [make_run("base-s1", 1, 1.0)]
    other = [make_run("other-s1", 2, 1.0, image_id=np.arange(60) + 1)]
    with pytest.raises(InputError, match="other-s1 and base-s1 were tested on different images"):
        lines_of(study(), {"base": base, "better": other})


def test_a_figure_is_looked_up_by_its_dotted_key() -> None:
    metrics = {"test": {"knn": {"mAP": 0.5, "images": 7}}}
    assert figure(metrics, "test.knn.mAP") == 0.5
    assert figure(metrics, "test.knn.images") == 7.0
    assert figure(metrics, "test.hybrid.mAP") is None
    assert figure(metrics, "test.knn") is None
