"""Raw data of a dataset as its readers find it; how it gets there is in :mod:`mmhash.data.source`.

``sample`` is drawn, ``coco2014`` is the user's folder, ``features`` are the user's arrays, the
public sets (``wiki``, ``mirflickr25k``, ``nuswide``) arrays of packages that others published.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

from mmhash.data.coco import annotated_folders, how_to_get_coco, picture_folder
from mmhash.data.folder import FeatureFolder, read_feature_folder, require_feature_files
from mmhash.data.karpathy import find_split_file
from mmhash.data.public_sets import find_files, read_public_set
from mmhash.errors import InputError
from mmhash.files import dvc_root, read_json, sha256_file

PUBLIC_SETS = ("wiki", "mirflickr25k", "nuswide")
DESCRIPTORS = Path("data/descriptors")

_PICTURES = (".jpg", ".jpeg", ".png")


def ensure_raw(name: str, root: Path) -> None:
    """Make sure that raw data can be read; every reader of pictures and annotations calls this.

    A sample with a missing picture is drawn again. For ``coco2014`` the annotations and a folder
    of pictures for each of them must exist; single missing pictures are for the extraction to
    list. Raises :class:`InputError` with the line that says what to get and where to put it.
    """
    if name == "sample":
        from mmhash.data.sample.draw import draw_sample, sample_is_complete  # slow to import

        if not sample_is_complete(root):
            draw_sample(root)
    elif name == "features":
        require_feature_files(root)
    elif name in PUBLIC_SETS:
        find_files(root, _descriptor(name))
    else:
        for folder in annotated_folders(root):
            if not count_pictures(root, folder):
                raise InputError(
                    f"{picture_folder(root, folder)}: no pictures there; {how_to_get_coco(root)}"
                )


def is_folder_dataset(name: str) -> bool:
    """Return whether dataset ``name`` is arrays of features, without pictures and towers."""
    return name == "features" or name in PUBLIC_SETS


def open_feature_dataset(name: str, root: Path, strict_counts: bool = False) -> FeatureFolder:
    """Read and check the arrays of a dataset that :func:`is_folder_dataset` names.

    ``strict_counts``: a public set must have the published number of rows. Raises
    :class:`InputError` naming file, row and mend.
    """
    if name == "features":
        return read_feature_folder(root)
    return read_public_set(root, _descriptor(name), strict_counts)


def _descriptor(name: str) -> dict[str, Any]:
    return read_json(DESCRIPTORS / f"{name}.json")


def split_file(name: str, root: Path) -> Path:
    """Return the split file of dataset ``name``: the user's below ``root``, else the fetched one.

    The sample is drawn first where it is missing. Raises :class:`InputError` where there is no
    such file.
    """
    if name == "sample":
        ensure_raw(name, root)
    found = find_split(name, root)
    if found is None:
        raise InputError(
            f"{root}: no dataset_coco.json (the Karpathy split); set "
            f"datasets.{name}.download=true, or unpack it there from "
            "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip"
        )
    return found


def find_split(name: str, root: Path) -> Path | None:
    """Return the split file of dataset ``name`` as :func:`split_file`, None where there is none."""
    fetched = downloads(name) / "dataset_coco.json"
    return find_split_file(root) or (fetched if fetched.is_file() else None)


def downloads(name: str) -> Path:
    """Return the folder of what was downloaded for dataset ``name`` beside the user's own."""
    return dvc_root() / ".cache" / "downloads" / name


def count_pictures(root: Path, folder: str) -> int:
    """Return the number of picture files in ``folder`` below ``root``, 0 without that folder."""
    path = picture_folder(root, folder)
    if not path.is_dir():
        return 0
    with os.scandir(path) as entries:
        return sum(entry.name.lower().endswith(_PICTURES) for entry in entries)


def sum_of_pictures(root: Path, folder: str) -> str:
    """Return the SHA-256 of the names and bytes of the picture files in ``folder``, by name."""
    total = hashlib.sha256()
    files = picture_folder(root, folder).iterdir()
    for path in sorted(file for file in files if file.name.lower().endswith(_PICTURES)):
        total.update(f"{path.name} {sha256_file(path)}\n".encode())
    return total.hexdigest()
