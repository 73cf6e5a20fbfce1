"""``mmhash index``: add images and categories to what predictions search, take them out, undo."""

import argparse
import json
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmhash.cli.startup import no_garbage
from mmhash.cli.terminal import harmless
from mmhash.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from mmhash.collection import Collection

ROOT = Path()  # the command runs in the checkout
LISTED = 20  # added images that info lists
WIDTH = 100


def add_parser(commands: Any) -> None:
    """Put ``index`` with its own sub-commands among the ``commands`` of ``mmhash``."""
    index = commands.add_parser(
        "index",
        help="add images and new categories to what predictions search; remove, undo, look",
        description="Change the database that predictions search, without training again. "
        "index/, an output of the pipeline, stays as it is; each change makes a version in "
        "collection/, whole or not at all, which undo takes back.",
        epilog='example: mmhash index add cat.jpg --labels "cat;couch" --caption "a cat asleep"\n'
        "example: mmhash index add list.csv --new-categories\n"
        "example: mmhash index info\n"
        "example: mmhash index undo",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    acts = index.add_subparsers(dest="act", required=True, metavar="ACT")
    add = acts.add_parser(
        "add",
        help="add images with labels, and new categories",
        description="Encode images with the trained model and put them among those that vote. "
        "Either one CSV file with the columns file (relative to the CSV's folder), labels (names "
        "separated by ;) and, if wanted, caption, or image files that share --labels. An image "
        "without a caption is encoded as mmhash predict encodes one. The same image twice is "
        "refused, and so are names that are no category, unless --new-categories is given.",
        epilog='example: mmhash index add cat.jpg --labels "cat;couch" --caption "a cat asleep"\n'
        "example: mmhash index add list.csv --new-categories",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add.add_argument("files", metavar="FILE", nargs="+", type=Path, help="images, or one CSV list")
    add.add_argument("--labels", metavar="NAMES", help='categories of all images: "dog;frisbee"')
    add.add_argument("--caption", metavar="TEXT", help="caption of all images")
    add.add_argument(
        "--new-categories", action="store_true", help="a name that is no category becomes one"
    )
    add.set_defaults(wrong_usage=add.error)
    remove = acts.add_parser(
        "remove",
        help="take images, or an added category, out",
        description="Take images out of the database, added ones or those of the data set, or a "
        "category that was added: its images stay, with their other labels.",
        epilog="example: mmhash index remove 600001 600002\n"
        "example: mmhash index remove --category okapi",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    remove.add_argument("images", metavar="IMAGE_ID", nargs="*", type=_image_id)
    remove.add_argument("--category", metavar="NAME", help="an added category")
    remove.set_defaults(wrong_usage=remove.error)
    info = acts.add_parser(
        "info",
        help="what the database holds, and its versions",
        description="Show kind and size of the database that predictions search, the versions "
        "that are kept, what was added, and the images of each category.",
        epilog="example: mmhash index info --json",
    )
    info.add_argument("--json", action="store_true", help="all of it as JSON")
    for name, told, description in (
        ("undo", "go back one version", "Go back to the version before the last change."),
        ("redo", "take undo back", "Take the last undo back. A change drops what was undone."),
        (
            "reset",
            "search index/ as built",
            "Go back to index/ as it was built; redo walks forward again until the next change.",
        ),
        (
            "rebuild",
            "encode what was added again, after another training",
            "After another training: read the images that were added from where they were, encode "
            "them with the model of now, and make the same changes to the new index/.",
        ),
    ):
        acts.add_parser(
            name, help=told, description=description, epilog=f"example: mmhash index {name}"
        )


def _image_id(text: str) -> int:
    if not text.isdecimal() or len(text) > 30:
        raise argparse.ArgumentTypeError(f"{text[:40]!r}: an image id is a whole number")
    return int(text)


def run_index(chosen: argparse.Namespace) -> None:
    """Do what ``mmhash index`` was asked; raises InputError in one line where it cannot."""
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # ? for a lacking letter
    if chosen.act == "add":
        lists = [file for file in chosen.files if file.suffix.lower() == ".csv"]
        if lists and (len(chosen.files) > 1 or chosen.labels is not None or chosen.caption):
            chosen.wrong_usage("a CSV list stands alone; labels and captions are its columns")
        if not lists and chosen.labels is None:
            chosen.wrong_usage("images need --labels; or name a CSV list")
        with no_garbage():
            _add(chosen.files, chosen.labels, chosen.caption, chosen.new_categories)
    elif chosen.act == "remove":
        if (chosen.category is None) == (not chosen.images):
            chosen.wrong_usage("name image ids, or one --category")
        _remove(chosen.images, chosen.category)
    elif chosen.act == "info":
        try:
            _info(chosen.json)
            sys.stdout.flush()
        except BrokenPipeError:  # whoever read our lines has seen enough
            sys.stdout = open("/dev/null", "w", encoding="utf-8")  # noqa: PTH123, SIM115
    elif chosen.act == "rebuild":
        with no_garbage():
            _rebuild()
    else:
        _move(chosen.act)


def _add(files: Sequence[Path], labels: str | None, caption: str | None, new: bool) -> None:
    from mmhash.additions import addition, checked_pictures, match_labels, read_list
    from mmhash.collection import changing, open_collection
    from mmhash.files import read_npy
    from mmhash.params import load_params

    if labels is None:
        wanted = read_list(files[0])
    else:
        wanted = [addition(file, labels, caption, str(file)) for file in files]
    if not wanted:
        raise InputError(f"{files[0]}: lists no picture")
    dataset = load_params(ROOT / "params.yaml").dataset
    before = open_collection(ROOT)
    match_labels(wanted, before.categories, new)  # a wrong name is told before torch is loaded
    with changing(ROOT):
        before = open_collection(ROOT)
        names, fresh = match_labels(wanted, before.categories, new)
        known = dict(
            zip(
                before.items["sha256"].to_pylist(),
                before.items["image_id"].to_pylist(),
                strict=True,
            )
        )
        checksums = checked_pictures(
            wanted,
            known,
            set(read_npy(before.folder / "image_id.npy").tolist()),
            ROOT / "data" / "images.parquet",
            ROOT / dataset.root,
            before.picture,
        )
        paths, captions = [item.path for item in wanted], [item.caption for item in wanted]
        queries, soft = _encoded(paths, captions)

        from mmhash.changes import added_table, extend, new_image_ids

        ids = new_image_ids(before, len(wanted))
        where = [str(path.resolve()) for path in paths]
        items = added_table(ids, where, checksums, captions, names)
        after = extend(before, queries, soft, items, fresh)
    numbers = f"{ids[0]} to {ids[-1]}" if len(ids) > 1 else f"{ids[0]}"
    print(f"added {_count(len(ids), 'image')} with id {numbers}")
    for name in fresh:
        print(f"new category {name}: {_count(sum(name in of for of in names), 'image')}")
    without = captions.count(None)
    if without:
        print(f"{_count(without, 'image')} without a caption: encoded as predict encodes one")
    _in_force(after.version)


def _encoded(
    paths: Sequence[Path], captions: Sequence[str | None]
) -> "tuple[np.ndarray, np.ndarray | None]":
    """Return what the index takes and the soft codes (None without a hash layer) of pictures."""
    import numpy as np

    import mmhash
    from mmhash.progress import track

    run = mmhash.load(ROOT)
    parts = []
    done = iter(track(range(len(paths)), len(paths), "encode", "picture"))
    for piece in run.stream_encoded(paths, captions):
        for position, reason in piece.reasons.items():
            raise InputError(f"{paths[position]}: {reason}; nothing is added")
        assert piece.encoded is not None  # nothing was unreadable
        parts.append(piece.encoded)
        for _ in range(piece.start, piece.stop):
            next(done)
    next(done, None)  # the bar is full
    hashed = parts[0].hashed
    soft = np.concatenate([part.soft for part in parts]) if hashed else None
    return np.concatenate([part.queries for part in parts]), soft


def _remove(images: list[int], category: str | None) -> None:
    from mmhash.additions import category_named, unknown_category
    from mmhash.changes import drop_category, remove
    from mmhash.collection import changing, open_collection
    from mmhash.params import load_params

    least = load_params(ROOT / "params.yaml").knn.k
    with changing(ROOT):
        before = open_collection(ROOT)
        if category is None:
            after = remove(before, images, least)
            print(f"removed {_count(len(set(images)), 'image')}")
        else:
            name = category_named(category, before.categories)
            if name is None:
                raise InputError(f"no category {unknown_category(category, before.categories)}")
            after = drop_category(before, name)
            print(f"dropped category {name}")
            bare = [str(row["image_id"]) for row in after.items.to_pylist() if not row["labels"]]
            if bare:
                print(
                    f"{_count(len(bare), 'added image')} without a label now; to take out: "
                    f"mmhash index remove {' '.join(bare)}"
                )
    _in_force(after.version)


def _rebuild() -> None:
    from mmhash.changes import rebuild
    from mmhash.collection import BUILT, base_of, changing, open_built, open_version, read_state
    from mmhash.files import sha256_file

    with changing(ROOT):
        version = read_state(ROOT).current
        stale = open_version(ROOT, version) if version != BUILT else open_built(ROOT)
        if stale.base == base_of(ROOT):
            raise InputError(
                f"nothing to rebuild: version {version} belongs to the model and the index of now"
            )
        rows = stale.items.to_pylist()
        paths = [Path(row["path"]) for row in rows]
        gone = [
            str(path)
            for row, path in zip(rows, paths, strict=True)
            if not path.is_file() or sha256_file(path) != row["sha256"]
        ]
        if gone:
            raise InputError(
                f"{_count(len(gone), 'image')} that had been added are gone or changed: "
                f"{', '.join(gone)}; put them back, or do without all of them: mmhash index reset"
            )
        now = open_built(ROOT)
        codes = _encoded(paths, [row["caption"] for row in rows]) if rows else (None, None)
        after = rebuild(stale, now, *codes)
    print(f"encoded {_count(len(rows), 'added image')} with the model of now")
    _in_force(after.version)


def _move(act: str) -> None:
    from mmhash.collection import redo, reset, undo

    if act == "reset":
        reset(ROOT)
        _in_force(0)
    else:
        before, after = (undo if act == "undo" else redo)(ROOT)
        print(f"version {before} -> {after}")
        _in_force(after)


def _in_force(version: int) -> None:
    if version:
        print(f"predictions search version {version}; mmhash index undo goes back")
    else:
        print("predictions search index/ as built")


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def _info(as_json: bool) -> None:
    from mmhash.collection import (
        BUILT,
        base_of,
        history,
        open_collection,
        open_version,
        read_state,
    )

    note = None
    try:
        opened = open_collection(ROOT)
    except InputError as error:
        version = read_state(ROOT).current
        if version == BUILT:
            raise
        note, opened = str(error), open_version(ROOT, version)
        if opened.base == base_of(ROOT):
            raise  # not of another training, but damaged
    about = _described(opened, history(ROOT), note)
    if as_json:
        # ASCII loses no letter, whatever the terminal can show
        json.dump(about, sys.stdout, indent=1)
        print()
        return
    if note is not None:
        print(f"warn  {note}")
    name = f"version {about['version']}" if about["version"] else "index/ as built (version 0)"
    print(
        f"{name}: {about['kind']}, {about['bits']} bits, {_count(about['items'], 'item')} of "
        f"{_count(about['images'], 'image')}, {about['bytes']:,} bytes in {about['folder']}"
    )
    for version in about["versions"]:
        mark = "*" if version["version"] == about["version"] else " "
        print(f"{mark} {version['version']:>4}  {version['did']} ({version['bytes']:,} bytes)")
    for row in about["added"][:LISTED]:
        print(harmless(f"  {row['image_id']}  {'; '.join(row['labels'])}  {row['path']}"))
    if len(about["added"]) > LISTED:
        print(f"  and {len(about['added']) - LISTED:,} more added images: --json lists all")
    added = [f"{c['name']} {c['images']:,}" for c in about["categories"] if c["added"]]
    built = [f"{c['name']} {c['images']:,}" for c in about["categories"] if not c["added"]]
    if added:
        print(textwrap.fill(f"added categories (images): {', '.join(added)}", WIDTH))
    print(textwrap.fill(f"categories (images): {', '.join(built)}", WIDTH))


def _described(
    opened: "Collection", versions: list[dict[str, Any]], note: str | None
) -> dict[str, Any]:
    """Return what ``info`` shows of a version, as JSON holds it."""
    import numpy as np

    from mmhash.files import read_json, read_npy

    meta = read_json(opened.folder / "meta.json")
    image_id, first = np.unique(read_npy(opened.folder / "image_id.npy"), return_index=True)
    counts = read_npy(opened.folder / "labels.npy", mmap=True)[first].sum(axis=0, dtype=np.int64)
    return {
        "version": opened.version,
        "folder": str(opened.folder),
        "kind": meta["kind"],
        "bits": meta["bits"],
        "items": meta["items"],
        "images": len(image_id),
        "bytes": sum(file.stat().st_size for file in opened.folder.iterdir()),
        "stale": note,
        "versions": [
            {name: version[name] for name in ("version", "parent", "did", "bytes")}
            for version in versions
        ],
        "added": opened.items.to_pylist(),
        "removed": opened.removed,
        "categories": [
            {**category, "images": int(count), "added": place >= opened.built_categories}
            for place, (category, count) in enumerate(
                zip(opened.categories, counts.tolist(), strict=True)
            )
        ],
    }
