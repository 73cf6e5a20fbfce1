from typing import Any

import numpy as np

from mmhash.page.classes import WORST, classes, confusion, mistake_ids, mistakes
from mmhash.plots.tables import class_table


def test_figures_of_classes_are_those_of_the_plots_in_the_order_of_the_columns(
    outputs: Any,
) -> None:
    run = outputs.run()
    found = classes(run)
    table = class_table(outputs.scores["knn"], outputs.labels, 0.5, run.names, {})
    for place, name in enumerate(run.names):
        row = table["class"].index(name)
        for figure in ("AP", "precision", "recall", "F1"):
            value = table[figure][row]
            expected = None if value is None else round(value, 4)
            assert found["heads"]["knn"][figure][place] == expected
    assert found["heads"]["knn"]["AP"][-1] is None  # no test image has it
    assert found["class_curves"]["knn"][-1] == [[], []]
    assert found["support"] == outputs.labels.sum(axis=0).tolist()
    assert [name for name, rare in zip(run.names, found["rare"], strict=True) if rare] == ["boat"]


def test_mistakes_are_wrong_decisions_worst_first(outputs: Any) -> None:
    run = outputs.run()
    section = mistakes(run)
    for head, scores in outputs.scores.items():
        found = section["heads"][head]
        for c in range(len(run.names)):
            absent = [
                (-float(s), i)
                for i, s in zip(outputs.ids, scores[:, c], strict=True)
                if s >= 0.5 and not outputs.labels[i - 1, c]
            ]
            expected = [int(image) for _, image in sorted(absent)[:WORST]]
            assert [image for image, _ in found["positives"][c]] == expected
            assert found["positives_count"][c] == len(absent)
            missed = [
                (float(s), i)
                for i, s in zip(outputs.ids, scores[:, c], strict=True)
                if s < 0.5 and outputs.labels[i - 1, c]
            ]
            expected = [int(image) for _, image in sorted(missed)[:WORST]]
            assert [image for image, _ in found["negatives"][c]] == expected
    first = mistake_ids(section, "hybrid")
    pairs = section["heads"]["hybrid"]["positives"]
    assert first[: len(pairs[0])] == [image for image, _ in pairs[0]]


def test_pairs_count_images_that_lack_what_they_are_given(outputs: Any) -> None:
    run = outputs.run()
    section = confusion(run)
    given = outputs.scores["knn"] >= 0.5
    for a, b, count, of in section["pairs"]["knn"]:
        has, lacks = outputs.labels[:, a] == 1, outputs.labels[:, b] == 0
        assert count == int((has & lacks & given[:, b]).sum()) > 0
        assert of == int((has & lacks).sum())
    counts = [pair[2] for pair in section["pairs"]["knn"]]
    assert counts == sorted(counts, reverse=True)
    matrix = np.array(section["matrices"]["labels"])
    assert np.allclose(np.diag(matrix), 1)
    assert len(section["classes"]) == len(matrix) == 5  # the class without an image is left out
