"""A caption's vector for a picture that has none, so that a model of pairs can tag it.

The main method was trained on pairs. A zero vector in place of the text is nothing that it has
ever seen: on the sample's val it takes the mAP of the votes from .356 to .060. What stands in here
is the mean direction of the first captions of the ``NEAREST`` training pictures that look most
alike (cosine of the image vectors), at the mean magnitude of these captions: a text as its
neighbours' texts are. Compared on the sample's val (mAP of knn / classifier):

=========================================================================  =============
the text's vector                                                          val mAP
=========================================================================  =============
of the picture's caption                                                   .356 / .372
zero                                                                       .060 / .100
mean of all training captions                                              .205 / .242
the image's direction, at the captions' mean magnitude                     .260 / .277
mean of the class prompts, by softmax of the zero-shot cosines (τ = .1)    .257 / .275
nearest training captions by cosine with the image (10)                    .256 / .282
captions of the nearest training pictures: of 1                            .243 / .267
of 5                                                                       .267 / .286
of 10                                                                      .264 / .296
of 50                                                                      .259 / .292
=========================================================================  =============

(``benchmarks/image_only.py`` measures it.) It is also the only one of them that stays sound where
images and texts lie apart: in real SigLIP checkpoints matching images and texts fill two separate
cones (the modality gap; Liang et al., "Mind the Gap", NeurIPS 2022), so that an image's direction
is no text's, and class prompts are short sentences of one form that no caption has. Here images are
compared with images only, and the result is made of captions. Neither a text tower nor equal widths
are needed.
"""

from dataclasses import dataclass, replace

import numpy as np

from mmhash.features import Dataset
from mmhash.index.vectors import unit_rows
from mmhash.models.cross_modal import CrossModalHasher
from mmhash.models.tagger import Tagger
from mmhash.training.batches import Features

NEAREST = 10  # training pictures whose captions stand in
BLOCK_PRODUCTS = 1 << 25  # products held at a time


@dataclass(frozen=True)
class StandIns:
    """Training pictures as unit vectors (M, D_i) float32, and their first captions.

    ``rows`` (M,) are their rows of ``features``.
    """

    unit_images: np.ndarray
    features: Features
    rows: np.ndarray

    def texts(self, images: np.ndarray) -> np.ndarray:
        """Return the text vectors (n, D_t) float32 that stand in for the captions of ``images``.

        ``images`` (n, D_i) are pooled image vectors, not of unit length. Of equally near training
        pictures the lower row is taken. Where fewer than ``NEAREST`` were trained on, all are.
        """
        k = min(NEAREST, len(self.rows))
        width = self.features.text.shape[1]
        found = np.empty((len(images), width), dtype=np.float32)
        step = max(1, BLOCK_PRODUCTS // len(self.rows))
        for start in range(0, len(images), step):
            cosines = unit_rows(images[start : start + step]) @ self.unit_images.T
            near = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
            near.sort(axis=1)
            rows = self.rows[near]
            text = self.features.text[self.features.caption_offset[rows.ravel()]]
            text = text.astype(np.float32).reshape(*rows.shape, width)
            length = np.linalg.norm(text, axis=2, keepdims=True)
            mean = (text / np.maximum(length, np.finfo(np.float32).tiny)).mean(axis=1)
            found[start : start + step] = unit_rows(mean) * length.mean(axis=1)
        return found


def reads_pairs(model: Tagger | CrossModalHasher | None) -> bool:
    """Whether ``model`` reads a picture and a caption, each pair for itself.

    Without a model (zero-shot) pictures are compared with pictures. Where the pairs encoded side by
    side change each other's codes, a single one has none.
    """
    if isinstance(model, CrossModalHasher):
        return model.batch_mates is None
    return model is not None and model.config.inputs == "both"


def open_stand_ins(dataset: Dataset) -> StandIns:
    """Take the training rows of ``dataset`` as what stand-ins are made of."""
    rows, features = dataset.training_rows(), dataset.features
    return StandIns(unit_rows(np.asarray(features.image[rows], dtype=np.float32)), features, rows)


def without_captions(dataset: Dataset) -> Dataset:
    """Return the val and test rows of ``dataset``, each with a stand-in as its only caption.

    There are no prototypes: zero-shot scores never read a caption.
    """
    rows, features = dataset.rows("val", "test"), dataset.features
    image = np.asarray(features.image[rows], dtype=np.float32)
    text = open_stand_ins(dataset).texts(image)
    pairs = Features(image, text, np.arange(len(rows) + 1), features.labels[rows])
    return replace(
        dataset,
        features=pairs,
        image_id=dataset.image_id[rows],
        split=dataset.split[rows],
        prototypes=None,
    )
