"""The images of a database: those of the data set, and those that the user added."""

import pyarrow as pa

from mmhash.collection import Collection
from mmhash.files import read_table

COLUMNS = ["image_id", "folder", "file_name", "captions"]


def images_of(collection: Collection) -> pa.Table:
    """Return :data:`COLUMNS` of the data set's images, then of those that were added.

    An added image has the small copy that the collection keeps, folder and name below the checkout,
    and one caption, "" where it was added without.
    """
    images = read_table(collection.root / "data" / "images.parquet").select(COLUMNS)
    items = collection.items
    copies = [collection.picture(sha256) for sha256 in items["sha256"].to_pylist()]
    added = {
        "image_id": items["image_id"],
        "folder": [copy.parent.relative_to(collection.root).as_posix() for copy in copies],
        "file_name": [copy.name for copy in copies],
        "captions": [[caption or ""] for caption in items["caption"].to_pylist()],
    }
    return pa.concat_tables([images, pa.table(added, schema=images.schema)])
