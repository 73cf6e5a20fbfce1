"""What else than its own modality a code depends on: its batch mates, the other modality.

In retrieval from image to text a query is an image. A code of it that changes with the rows that
happen to be encoded along with it, or with its own caption, knows more than the protocol allows.
"""

from collections.abc import Callable

import numpy as np

from mmhash.codes import binarise
from mmhash.errors import InputError

Encode = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, ...]]

PROBES = 32  # items that are looked at, each in three batches of its own
IMAGE, TEXT = 0, 1


def leak_table(
    encode: Encode, image: np.ndarray, text: np.ndarray, rng: np.random.Generator
) -> dict[str, float]:
    """Return the share of code bits that change with what a code should not depend on.

    ``encode`` turns ONE batch, image (n, D_i) and text (n, D_t), into soft codes (image, text, …),
    each (n, B). ``image`` and ``text`` hold the rows of TWO batches, so 2 n: a random half of them
    is the batch, the other half are strangers. Means over at most 32 items of the batch:

    - ``image_batch_mates``, ``text_batch_mates``: bits of the item's image (text) code that change
      when all other rows of its batch are strangers, while the item keeps its row
    - ``image_other_modality``: bits of its image code that change when it alone gets the text of a
      stranger; ``text_other_modality``: bits of its text code, with the image of a stranger

    0: no influence, exactly, where the code depends on the item's own modality alone (each item
    keeps its row and the batch its size, so that not even rounding differs). 0.5: as if the code
    were drawn anew. Raises InputError for fewer than 4 rows, that is 2 a batch, and for NaN.
    """
    n = len(image) // 2
    if n < 2 or len(text) != len(image):
        raise InputError(
            f"leak table: {len(image)} image and {len(text)} text rows; it needs as many of one "
            "as of the other, and at least 4 (two batches of 2)"
        )
    order = rng.permutation(len(image))
    batch, strangers = order[:n], order[n : 2 * n]
    rows = rng.permutation(n)[:PROBES]
    own = _bits(encode, image[batch], text[batch])
    changed: dict[str, list[float]] = {}
    for row in rows:
        mates = strangers.copy()
        mates[row] = batch[row]
        other = batch.copy()
        other[row] = strangers[row]
        among = _bits(encode, image[mates], text[mates])
        retold = _bits(encode, image[batch], text[other])
        redrawn = _bits(encode, image[other], text[batch])
        for name, kind, bits in (
            ("image_batch_mates", IMAGE, among),
            ("text_batch_mates", TEXT, among),
            ("image_other_modality", IMAGE, retold),
            ("text_other_modality", TEXT, redrawn),
        ):
            share = (bits[kind][row] != own[kind][row]).mean()
            changed.setdefault(name, []).append(float(share))
    return {name: float(np.mean(shares)) for name, shares in changed.items()}


def _bits(encode: Encode, image: np.ndarray, text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    codes = encode(image, text)
    return binarise(np.asarray(codes[IMAGE])), binarise(np.asarray(codes[TEXT]))
