"""fetch_data: make sure that the raw data are there and write down what they are."""

import sys
from pathlib import Path

import _checkout  # noqa: F401

from mmhash.cost import measured
from mmhash.data.source import prepare_raw
from mmhash.errors import exit_code
from mmhash.files import dvc_root, read_json, write_json
from mmhash.params import load_params


def main() -> None:
    """Draw the sample, or check the dataset's folder; write ``data/manifest.json``."""
    params = load_params()
    with measured("fetch_data"):
        manifest = prepare_raw(
            params.run.dataset,
            dvc_root() / params.dataset.root,
            params.dataset.download,
            read_json(Path("data/descriptors") / f"{params.run.dataset}.json"),
        )
        write_json("data/manifest.json", manifest)


if __name__ == "__main__":
    sys.exit(exit_code(main, "the next dvc repro goes on with what is missing"))
