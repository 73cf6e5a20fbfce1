"""Whether the files of a database, in the layout of ``index/``, are whole and fit each other."""

from pathlib import Path

from mmhash.errors import InputError
from mmhash.files import read_json, read_npy, sha256_file


def check_whole(folder: Path, classes: int) -> None:
    """Raise :class:`InputError` for the first file in ``folder`` that is damaged or does not fit.

    ``classes`` is the number of categories. Arrays are not read beyond their headers. Whoever reads
    a database tells the same of ``index/``, but with a mend that is of no use for a version that a
    user made: no stage makes those.
    """
    try:
        meta = read_json(folder / "meta.json")
        items, hashed = int(meta["items"]), bool(meta["bits"])
        whole = sha256_file(folder / "index.faiss") == meta["sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"meta.json describes no database: {error!r}") from None
    except OSError as error:
        raise InputError(f"index.faiss: {error.strerror}") from None
    if not whole:
        raise InputError("index.faiss is not the one that meta.json describes")
    for name in ("image_id", "caption", "labels", *(["soft"] if hashed else [])):
        shape = read_npy(folder / f"{name}.npy", mmap=True).shape
        if shape[:1] != (items,) or (name == "labels" and shape[1:] != (classes,)):
            raise InputError(
                f"{name}.npy has shape {shape}, for {items} items of {classes} classes"
            )
