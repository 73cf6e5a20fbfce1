"""A finished run as one object that tags new pictures: towers, model, database, thresholds::

    run = mmhash.load("path/of/the/checkout")
    run.predict(["cat.jpg"], ["a cat on a sofa"])[0].tags

New pictures take the way of those of the training: the same decoding, the same lower-cased text,
the rounding and scaling of the stored features, the model in evaluation mode. So a test picture
with its first caption is tagged as ``evaluate`` tagged it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from mmhash.codes import binarise, pack
from mmhash.database import Database, open_database
from mmhash.encoders.batch import extraction_batch
from mmhash.encoders.device import choose_device, choose_precision
from mmhash.encoders.stream import Picture, stream_vectors
from mmhash.errors import InputError
from mmhash.features import features_for, load_features
from mmhash.files import read_json
from mmhash.heads import mix, probabilities, scores_of
from mmhash.image_only import StandIns, open_stand_ins
from mmhash.index.kinds import one_thread
from mmhash.measured import accuracy, moved_since, read_thresholds
from mmhash.models.cross_modal import CrossModalHasher
from mmhash.models.tagger import Tagger
from mmhash.models.weights import load_tagger
from mmhash.params import Params, load_params
from mmhash.prediction import Prediction, best_tags, thresholds_of
from mmhash.training.batches import Features
from mmhash.training.encode import encode
from mmhash.tuned import load_towers

NEEDED = (
    *("params.yaml", "model/config.json", "index/meta.json", "index/index.faiss"),
    *("data/categories.json", "data/images.parquet", "predictions/thresholds.json"),
)


@dataclass(frozen=True)
class Encoded:
    """Codes of n pictures.

    ``soft`` (n, B) float32 are soft codes h, or without a hash layer real vectors; ``queries`` what
    the index takes: packed codes (n, B / 8) uint8, or the real vectors; ``logits`` (n, C) float32,
    None where the model has no classifier; ``image_only`` (n,) bool marks those whose caption was
    stood in for (:mod:`mmhash.image_only`).
    """

    soft: np.ndarray
    queries: np.ndarray
    logits: np.ndarray | None
    image_only: np.ndarray

    @property
    def hashed(self) -> bool:
        """Whether ``queries`` are binary codes."""
        return self.queries.dtype == np.uint8


class Piece(NamedTuple):
    """Consecutive pictures of a stream: ``encoded`` holds ``readable`` ones, in order.

    ``start`` to ``stop``: which pictures; ``reasons``: why a picture cannot be read, by position.
    Positions count from the start of the stream.
    """

    start: int
    stop: int
    readable: list[int]
    reasons: dict[int, str]
    encoded: Encoded | None


class TrainedRun:
    """A finished run. Parts are read when they are first needed and stay in memory."""

    def __init__(self, root: Path | str = ".") -> None:
        """Look at the run in the checkout ``root``.

        Raises :class:`InputError` where something that predictions need is not there, where the
        dataset has no encoder, or where the method cannot tag a single picture.
        """
        self.root = Path(root)
        for name in NEEDED:
            if not (self.root / name).is_file():
                mend = "run dvc repro there, or name the folder of a finished run"
                raise InputError(f"{self.root / name}: no such file; {mend}")
        self.params: Params = load_params(self.root / "params.yaml")
        if self.params.dataset.encoder is None:
            raise InputError(
                f"run.dataset={self.params.run.dataset} has no encoder (its features came ready "
                "made), so that new pictures cannot be tagged; use a run on sample or coco2014"
            )

    @cached_property
    def device(self) -> torch.device:
        """Where the towers, the model and the search run."""
        return choose_device(self.params.profile.device)

    @cached_property
    def model(self) -> tuple[Tagger | CrossModalHasher | None, float]:
        """The trained model (None: nothing was trained) and β of its epoch."""
        model, scale = load_tagger(self.root / "model")
        if isinstance(model, CrossModalHasher) and model.batch_mates is not None:
            raise InputError(
                f"model.name={self.params.model.name}: the code of a pair depends on the pairs "
                "encoded beside it, so that a single picture has none; train with "
                "ucmfh.attention=sample, or another method"
            )
        return model, scale

    @cached_property
    def inputs(self) -> str:
        """What the model reads of a pair: both, image or caption."""
        model, _ = self.model
        if model is None:
            return "image"
        return model.config.inputs if isinstance(model, Tagger) else "both"

    @cached_property
    def towers(self) -> Any:
        """The towers (:class:`mmhash.encoders.checkpoint.Towers`) that the features came from."""
        source, profile = self.params.dataset.encoder, self.params.profile
        assert source is not None  # __init__ sees to it
        folder = self.root / source.checkpoint
        towers = load_towers(
            self.root / "model",
            str(folder) if folder.is_dir() else source.checkpoint,
            source.revision,
            self.device,
            source.max_num_patches,
            precision=choose_precision(profile.precision, self.device),
        )
        meta = self._features_meta
        for name, found in (
            ("fingerprint", towers.fingerprint),
            ("max_num_patches", towers.pixels.max_num_patches),
        ):
            if meta[name] != found:
                raise InputError(
                    f"{source.checkpoint}: not the encoder ({name} {found}) that the features of "
                    f"this run came from ({meta[name]}); restore it, or run dvc repro"
                )
        return towers

    @cached_property
    def batch(self) -> int:
        """Rows that go through the towers at once; on a GPU a measurement tells how many."""
        return extraction_batch(self.params.profile.extract_batch, self.towers)

    @cached_property
    def database(self) -> Database:
        """What predictions search."""
        return open_database(self.root, self.params, self.device.type)

    @cached_property
    def stand_ins(self) -> StandIns:
        """What takes the place of captions that are not given."""
        features = features_for(self.root / "model", self.root / "features")
        return open_stand_ins(load_features(features, self.root / "data"))

    def accuracy(self, image_only: bool) -> dict[str, float] | None:
        """Return mAP, mAP_low and mAP_high on test, of predictions with or without a caption.

        By the head that names the tags; None where ``evaluate`` has not measured it, or with other
        settings of the votes than those of now (:attr:`moved`).
        """
        head = self.params.knn.head
        if self.moved and head != "classifier":
            return None
        return accuracy(self.root, head, image_only)

    @cached_property
    def moved(self) -> str:
        """How the votes differ from those that ``evaluate`` measured, in words; "": they do not."""
        return moved_since(self.root, self.params.knn)

    def encode(
        self, images: Sequence[Picture], captions: Sequence[str | None] | None = None
    ) -> Encoded:
        """Return the codes of pictures with their captions; None stands for no caption.

        ``images`` are paths, or the bytes of picture files. Raises :class:`InputError` naming the
        pictures that cannot be read, and for captions that do not fit.
        """
        parts: list[Encoded] = []
        for piece in self.stream_encoded(images, captions):
            _refuse(images, piece.reasons)
            assert piece.encoded is not None
            parts.append(piece.encoded)
        if not parts:
            raise InputError("no pictures to encode")
        logits = [part.logits for part in parts if part.logits is not None]
        return Encoded(
            np.concatenate([part.soft for part in parts]),
            np.concatenate([part.queries for part in parts]),
            np.concatenate(logits) if logits else None,
            np.concatenate([part.image_only for part in parts]),
        )

    def predict(
        self,
        images: Sequence[Picture],
        captions: Sequence[str | None] | None = None,
        top_n: int | None = None,
    ) -> list[Prediction]:
        """Tag pictures, with their captions where there are any (None: image only).

        ``images`` are paths, or the bytes of picture files; ``top_n`` tags are named, by default
        ``knn.top_n_tags``. Raises :class:`InputError` naming the pictures that cannot be read, and
        for captions that do not fit.
        """
        found: list[Prediction] = []
        for position, outcome in enumerate(self.stream(images, captions, top_n)):
            if isinstance(outcome, str):
                _refuse(images, {position: outcome})
            else:
                found.append(outcome)
        return found

    def stream(
        self,
        images: Sequence[Picture],
        captions: Sequence[str | None] | None = None,
        top_n: int | None = None,
    ) -> Iterator[Prediction | str]:
        """Yield the prediction of each picture, or in words why it cannot be read.

        Arguments as for :meth:`predict`. Memory does not grow with the number of pictures.
        """
        for piece in self.stream_encoded(images, captions):
            made: list[Prediction] = []
            if piece.encoded is not None:
                with one_thread():  # others would wait for the processes that decode the next piece
                    made = self.tag(piece.encoded, top_n)
            outcomes: dict[int, Prediction | str] = dict(zip(piece.readable, made, strict=True))
            outcomes |= piece.reasons
            yield from (outcomes[at] for at in range(piece.start, piece.stop))

    def stream_encoded(
        self, images: Sequence[Picture], captions: Sequence[str | None] | None = None
    ) -> Iterator[Piece]:
        """Yield the codes of pictures piece by piece; worker processes decode many of them."""
        captions = self._checked(images, captions)
        profile, meta = self.params.profile, self._features_meta
        for piece in stream_vectors(
            images,
            captions,
            self.towers,
            dtype=meta["dtype"],
            normalise=meta["normalised"],
            batch=self.batch,
            workers=profile.num_workers,
            prefetch_factor=profile.prefetch_factor,
            pin_memory=profile.pin_memory,
        ):
            encoded = None
            if piece.readable:
                stood_in = ~piece.captioned & (self.inputs == "both")
                if stood_in.any():
                    alone = piece.image[stood_in].astype(np.float32)
                    piece.text[stood_in] = self.stand_ins.texts(alone)
                encoded = self._codes(piece.image, piece.text, stood_in)
            yield Piece(piece.start, piece.stop, piece.readable, piece.reasons, encoded)

    def _codes(self, image: np.ndarray, text: np.ndarray, image_only: np.ndarray) -> Encoded:
        """Encode vectors as ``evaluate`` encodes the rows of the features."""
        model, scale = self.model
        n = len(image)
        pairs = Features(image, text, np.arange(n + 1), np.zeros((n, 1), dtype=np.uint8))
        found = encode(model, pairs, np.arange(n), scale, device=self.device)
        soft = found["h"] if "h" in found else found["z"]
        queries = pack(binarise(soft)) if "h" in found else soft
        return Encoded(soft, queries, found.get("logits"), image_only)

    def tag(self, encoded: Encoded, top_n: int | None = None) -> list[Prediction]:
        """Return the predictions of encoded pictures: what :meth:`predict` does after encoding."""
        database, retriever = self.database, self.database.retriever
        top_n = self.params.knn.top_n_tags if top_n is None else top_n
        made: list[Prediction] = []
        soft = encoded.soft if encoded.hashed else None
        for found, weights, votes in retriever.votes(encoded.queries, soft):
            rows = slice(len(made), len(made) + len(found))
            near = None if soft is None else soft[rows]
            votes = database.scores(found, votes, encoded.queries[rows], near)
            logits = None if encoded.logits is None else encoded.logits[rows]
            alone = encoded.image_only[rows]
            scored = {kind: self._scored(votes, logits, kind) for kind in set(alone.tolist())}
            for row, voters in enumerate(database.voters(found, weights)):
                kind = bool(alone[row])
                scores, limits = scored[kind]
                tags = best_tags(scores[row], limits, database.categories, top_n)
                made.append(Prediction(tags, voters, kind))
        return made

    def _scored(
        self, votes: np.ndarray, logits: np.ndarray | None, image_only: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return scores (n, C) and thresholds (C,) of all rows, as with or without a caption."""
        head, cuts = self.params.knn.head, self._cuts(image_only)
        heads = {"knn": votes}
        if logits is not None:
            heads |= _with_classifier(votes, logits, cuts)
        classes, total = len(cuts["knn"]["per_class"]), votes.shape[1]
        limits = thresholds_of(cuts, head, self.params.evaluate.thresholds, classes, total)
        return scores_of(head, heads), limits

    @cached_property
    def _thresholds(self) -> dict[str, Any]:
        return read_thresholds(self.root)

    def _cuts(self, image_only: bool) -> dict[str, Any]:
        """Return what was chosen on val for predictions with or without a caption."""
        cuts = self._thresholds
        found = cuts.get("image_only") if image_only else cuts
        if found is None:
            raise InputError(
                f"{self.root / 'predictions' / 'thresholds.json'}: no thresholds for pictures "
                "without a caption; give captions, or run dvc repro evaluate"
            )
        return found

    @cached_property
    def _features_meta(self) -> dict[str, Any]:
        return read_json(features_for(self.root / "model", self.root / "features") / "meta.json")

    def _checked(
        self, images: Sequence[Picture], captions: Sequence[str | None] | None
    ) -> Sequence[str | None]:
        """Return a caption, or None, for each image; raises where they do not fit."""
        if isinstance(images, str | bytes | Path):
            raise InputError("images must be a list of pictures; put the one into a list")
        if isinstance(captions, str):
            raise InputError("captions must be a list, one for each picture; put it into a list")
        if captions is None:
            captions = [None] * len(images)
        if len(captions) != len(images):
            raise InputError(f"{len(captions)} captions for {len(images)} pictures; give one each")
        for at, caption in enumerate(captions):
            if caption is None:
                if self.inputs == "caption":
                    raise InputError(
                        f"{_name(images[at])}: this model reads captions alone "
                        "(model.inputs=caption); give one"
                    )
                continue
            if not caption.strip():
                raise InputError(
                    f"{_name(images[at])}: the caption is empty; leave it out to tag by the "
                    "picture alone"
                )
            try:
                caption.encode("utf-8")
            except UnicodeEncodeError:
                raise InputError(f"{_name(images[at])}: the caption is no valid UTF-8") from None
        return captions


def _with_classifier(
    votes: np.ndarray, logits: np.ndarray, cuts: dict[str, Any]
) -> dict[str, np.ndarray]:
    """Return the scores (n, C') of classifier and hybrid; categories unknown to them have votes."""
    known = probabilities(logits)
    built, added = np.split(votes, [known.shape[1]], axis=1)
    mixed = mix(built, known, cuts["hybrid"]["knn_weight"])
    return {
        "classifier": np.concatenate([known, added], axis=1),
        "hybrid": np.concatenate([mixed, added], axis=1),
    }


def _name(image: Picture) -> str:
    return "picture" if isinstance(image, bytes) else str(image)


def _refuse(images: Sequence[Picture], reasons: dict[int, str]) -> None:
    """Raise InputError naming the pictures that cannot be read, if there are any."""
    if reasons:
        names = ", ".join(f"{_name(images[at])} ({why})" for at, why in list(reasons.items())[:5])
        more = f" and {len(reasons) - 5} more" if len(reasons) > 5 else ""
        raise InputError(f"cannot be read: {names}{more}")
