"""index_coco: read annotations and captions into one table, and count what is in them."""

import sys

import _checkout  # noqa: F401

from mmhash.cost import measured
from mmhash.data.coco import data_statistics, read_coco
from mmhash.data.raw import ensure_raw, is_folder_dataset, open_feature_dataset
from mmhash.errors import exit_code
from mmhash.files import dvc_root, write_json, write_table
from mmhash.params import load_params


def main() -> None:
    """Write ``data/images.parquet``, ``data/categories.json`` and ``data/statistics.json``."""
    params = load_params()
    name, root = params.run.dataset, dvc_root() / params.dataset.root
    with measured("index_coco"):
        ensure_raw(name, root)
        table = open_feature_dataset(name, root) if is_folder_dataset(name) else read_coco(root)
        statistics = data_statistics(table.images, table.categories, root)
        write_table("data/images.parquet", table.images)
        write_json("data/categories.json", table.categories)
        write_json("data/statistics.json", statistics)


if __name__ == "__main__":
    sys.exit(exit_code(main))
