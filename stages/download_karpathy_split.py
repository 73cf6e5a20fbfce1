"""download_karpathy_split: say for each image whether it is train, restval, val or test."""

import sys

import _checkout  # noqa: F401

from mmhash.cost import measured
from mmhash.data.folder import read_feature_folder
from mmhash.data.karpathy import read_karpathy, split_counts, split_table
from mmhash.data.source import split_file
from mmhash.errors import exit_code
from mmhash.files import dvc_root, read_table, write_json, write_table
from mmhash.params import load_params


def main() -> None:
    """Write ``data/split.parquet`` and its counts to ``metrics/split.json``."""
    params = load_params()
    root = dvc_root() / params.dataset.root
    with measured("download_karpathy_split"):
        if params.run.dataset == "features":
            split = read_feature_folder(root, params.split.seed).split
        else:
            karpathy = read_karpathy(split_file(params.run.dataset, root))
            images = read_table("data/images.parquet")
            split = split_table(images, karpathy, params.dataset.strict_counts)
        write_table("data/split.parquet", split)
        write_json("metrics/split.json", split_counts(split))


if __name__ == "__main__":
    sys.exit(exit_code(main))
