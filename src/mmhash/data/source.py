"""Raw data of a dataset: get what is missing, and say in a manifest what there is.

``coco2014`` is an existing folder that is read in place; with ``download`` the official archives
that it lacks are unpacked into it, and the split file, the one small thing that most copies lack,
into ``.cache/downloads`` of the main checkout. The manifest holds no times and no absolute paths,
so the same data give the same bytes on every machine.
"""

import shutil
from functools import partial
from pathlib import Path
from typing import Any

from mmhash.data.archives import extract_member, unpack
from mmhash.data.coco import annotated_folders
from mmhash.data.download import fetch, side_by_side
from mmhash.data.folder import FEATURE_FILES, OFFSET_FILE
from mmhash.data.public_sets import files_in_use
from mmhash.data.raw import (
    PUBLIC_SETS,
    count_pictures,
    downloads,
    ensure_raw,
    find_split,
    split_file,
    sum_of_pictures,
)
from mmhash.files import require_space, sha256_file


def prepare_raw(
    name: str, root: Path, download: bool, descriptor: dict[str, Any]
) -> dict[str, Any]:
    """Make sure that the raw data of dataset ``name`` are below ``root``; return their manifest.

    The manifest: ``dataset``; ``files``, each with ``path`` (relative to the root), ``bytes`` and
    ``sha256``; ``image_counts`` by folder. Pictures are counted, not summed, but for those of the
    sample, which this repository draws: ``image_sha256`` by folder. So what reads them after this
    depends on the manifest and not on the code that draws.

    With ``download`` what COCO 2014 lacks is fetched as ``descriptor`` says: its ``archives`` and
    its ``split_file``.

    Raises :class:`InputError` with the line that says how to get what is missing.
    """
    if name == "coco2014" and download:
        _fetch_archives(root, descriptor.get("archives", []))
    ensure_raw(name, root)
    if name == "features":
        names = [*FEATURE_FILES, *([OFFSET_FILE] if (root / OFFSET_FILE).is_file() else [])]
        return _manifest(name, {file: root / file for file in names}, {})
    if name in PUBLIC_SETS:
        return _manifest(name, files_in_use(root, descriptor), {})
    split = find_split(name, root)
    if split is None and download and name == "coco2014":
        split = _fetch_split(name, descriptor["split_file"])
    if split is None:
        split = split_file(name, root)  # raises the line that says where to get it
    folders = annotated_folders(root)
    files = {
        f"annotations/{kind}_{folder}.json": root / "annotations" / f"{kind}_{folder}.json"
        for kind in ("instances", "captions")
        for folder in folders
    }
    files[split.relative_to(root).as_posix() if split.is_relative_to(root) else split.name] = split
    counts = {folder: count_pictures(root, folder) for folder in folders}
    manifest = _manifest(name, files, counts)
    if name == "sample":
        manifest["image_sha256"] = {folder: sum_of_pictures(root, folder) for folder in folders}
    return manifest


def _fetch_split(name: str, source: dict[str, Any]) -> Path:
    """Download the archive of the split and take the one file out of it.

    The archive goes once its member is out: the member's checksum is in the manifest.
    """
    target = downloads(name) / "dataset_coco.json"
    archive = target.with_name("caption_datasets.zip")
    fetch(source["url"], archive, sha256=source["sha256"], size=source["bytes"])
    try:
        extract_member(archive, source["member"], target, source["max_bytes"])
    finally:
        archive.unlink(missing_ok=True)
    return target


def _fetch_archives(root: Path, archives: list[dict[str, Any]]) -> None:
    """Download and unpack, side by side, the archives of which something is missing below ``root``.

    An archive goes once it is unpacked; a folder of pictures appears only complete. Raises
    :class:`InputError` before the first byte where the disk has no room for all of it.
    """
    missing = [archive for archive in archives if not _is_there(root, archive)]
    if not missing:
        return
    parts = root / ".downloads"
    needed = sum(archive["bytes"] + archive["max_bytes"] for archive in missing)
    require_space(root, needed - _bytes_below(parts), "COCO 2014, packed and unpacked")

    def bring(archive: dict[str, Any]) -> None:
        packed = parts / archive["url"].rpartition("/")[2]
        if not packed.exists():
            fetch(archive["url"], packed, sha256=archive["sha256"], size=archive["bytes"])
        target, only = root / archive["to"], archive.get("only")
        unpack(packed, archive["folder"], target, archive["max_bytes"], only)
        packed.unlink()

    side_by_side([partial(bring, archive) for archive in missing])
    shutil.rmtree(parts)  # with the beginning of an archive that came from elsewhere meanwhile


def _is_there(root: Path, archive: dict[str, Any]) -> bool:
    if "only" in archive:
        return all((root / archive["to"] / name).is_file() for name in archive["only"])
    return count_pictures(root, archive["folder"]) > 0


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir()) if folder.is_dir() else 0


def _manifest(name: str, files: dict[str, Path], image_counts: dict[str, int]) -> dict[str, Any]:
    return {
        "dataset": name,
        "files": [
            {"path": path, "bytes": file.stat().st_size, "sha256": sha256_file(file)}
            for path, file in sorted(files.items())
        ],
        "image_counts": image_counts,
    }
