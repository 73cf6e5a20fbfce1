"""download_karpathy_split: say for each image whether it is train, restval, val or test.

With ``split.protocol: kfold`` the images outside test are divided anew, into folds.
"""

import sys

import _checkout  # noqa: F401

from mmhash.cost import measured
from mmhash.data.folder import set_val_aside
from mmhash.data.folds import fold_table
from mmhash.data.karpathy import read_karpathy, split_counts, split_table
from mmhash.data.raw import is_folder_dataset, open_feature_dataset, split_file
from mmhash.errors import exit_code
from mmhash.files import dvc_root, read_table, write_json, write_table
from mmhash.params import load_params


def main() -> None:
    """Write ``data/split.parquet`` and what it is to ``metrics/split.json``."""
    params = load_params()
    name, root = params.run.dataset, dvc_root() / params.dataset.root
    strict = params.dataset.strict_counts
    with measured("download_karpathy_split"):
        images = read_table("data/images.parquet")
        if is_folder_dataset(name):
            split = set_val_aside(open_feature_dataset(name, root, strict).split, params.split.seed)
        else:
            split = split_table(images, read_karpathy(split_file(name, root)), strict)
        figures = {"protocol": params.split.protocol}
        if params.split.protocol == "kfold":
            split, figures["kfold"] = fold_table(
                images, split, params.split.folds, params.split.fold, params.split.seed
            )
        write_table("data/split.parquet", split)
        write_json("metrics/split.json", figures | {"images": split_counts(split)})


if __name__ == "__main__":
    sys.exit(exit_code(main))
