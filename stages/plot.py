"""plot: tables for ``dvc plots`` and the same charts as PNG."""

import sys
from pathlib import Path

import _checkout  # noqa: F401

from mmhash.cost import measured
from mmhash.errors import exit_code
from mmhash.files import dvc_root, read_json
from mmhash.params import load_params
from mmhash.plots.write import write_plots


def main() -> None:
    """Write ``plots/``."""
    params = load_params()
    with measured("plot"):
        write_plots(
            predictions=Path("predictions"),
            statistics=Path("data/statistics.json"),
            categories=Path("data/categories.json"),
            history=Path("model/history.csv"),
            h_histogram=Path("model/h_histogram.csv"),
            images=Path("data/images.parquet"),
            evaluation=Path("metrics/eval.json"),
            pictures=dvc_root() / params.dataset.root,
            out=Path("plots"),
            dataset=params.run.dataset,
            bits=read_json("index/meta.json")["bits"] or None,
            thresholds=params.evaluate.thresholds,
            head=params.knn.head,
            distance=params.knn.distance,
            dpi=params.plots.dpi,
        )


if __name__ == "__main__":
    sys.exit(exit_code(main))
