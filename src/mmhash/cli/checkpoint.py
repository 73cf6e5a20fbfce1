"""``mmhash doctor --checkpoint``: does a checkpoint give the features that the method needs?"""

import numpy as np
import torch
from PIL import Image

from mmhash.cli.findings import Finding, show
from mmhash.data.sample.categories import CATEGORY_IDS
from mmhash.data.sample.draw import stream_pairs
from mmhash.encoders.checkpoint import Towers, load_checkpoint
from mmhash.encoders.device import choose_device
from mmhash.encoders.pixels import Pictures, fit
from mmhash.encoders.prototypes import cosine_scores, prototypes
from mmhash.metrics.multilabel import multilabel_metrics

PROMPTS = ("a photo of a {}.", "a picture of a {}.")
DRAWINGS = 120  # pictures of a stream that neither the sample nor the tiny encoders draw from
STREAM = 20261121


def _drawings() -> tuple[list[Image.Image], list[set[str]]]:
    """Return drawn scenes and the names of the classes in each."""
    pictures, names = [], []
    for picture, _, found in stream_pairs(STREAM, 0, DRAWINGS):
        pictures.append(picture)
        names.append(found)
    return pictures, names


def _norms(vectors: np.ndarray, what: str) -> Finding:
    norm = np.linalg.norm(vectors, axis=1)
    spread = float(norm.std() / norm.mean())
    seen = f"norms {norm.mean():.3f} ± {norm.std():.3f} over {len(norm)} {what}s"
    if spread < 1e-4:
        return Finding("fail", f"{what} vectors", seen, "they are normalised: magnitude is void")
    return Finding("ok", f"{what} vectors", seen)


def _lower_case(towers: Towers) -> Finding:
    lower = towers.encode_texts(["a photo of a cat on a sofa."]).cpu().numpy()
    upper = towers.encode_texts(["A PHOTO OF A CAT ON A SOFA."]).cpu().numpy()
    if np.array_equal(lower, upper):
        return Finding("ok", "lower case", "captions in capitals give the same vector")
    return Finding("fail", "lower case", "capitals change the vector", "report this as a bug")


def _token_length(towers: Towers) -> Finding:
    if towers.token_length == 64:
        return Finding("ok", "tokens", "64 a caption, padded, no attention mask")
    return Finding(
        "warn", "tokens", f"{towers.token_length} a caption", "SigLIP was trained with 64"
    )


def _zero_shot(towers: Towers, vectors: np.ndarray, present: list[set[str]]) -> Finding:
    names = sorted(set().union(*present))
    scores = cosine_scores(vectors, prototypes(towers.encode_texts, names, PROMPTS))
    labels = np.array([[name in found for name in names] for found in present], dtype=np.uint8)
    area = multilabel_metrics((1 + scores) / 2, labels, 0.5)["AUC_macro"]
    seen = f"area under the ROC curve {area:.2f} over {len(names)} classes (chance 0.50)"
    if area < 0.6:
        return Finding("fail", "zero-shot", seen, "wrong weights or preprocessing")
    return Finding("ok", "zero-shot", f"{len(present)} drawn scenes: {seen}")


def check_checkpoint(checkpoint: str, revision: str | None) -> bool:
    """Load ``checkpoint`` and print one line a check; return False where one failed.

    Checked are the widths, that the norms of pooled vectors vary, the token length, that captions
    are lower-cased, and that zero-shot tagging of drawn scenes beats chance. Raises InputError
    where the checkpoint cannot be had or read.
    """
    towers = load_checkpoint(checkpoint, revision, choose_device("auto"))
    drawn, present = _drawings()
    fitted = [fit(picture, towers.pixels) for picture in drawn]
    pixels = torch.from_numpy(np.stack([row for row, _ in fitted]))
    grids = torch.tensor([grid for _, grid in fitted], dtype=torch.int64)
    vectors = towers.encode_images(Pictures(pixels, grids)).cpu().numpy()
    texts = towers.encode_texts([f"a drawing of a {name}" for name in CATEGORY_IDS]).cpu().numpy()
    count = sum(parameter.numel() for parameter in towers.model.parameters())
    widths = f"image {towers.width_image}, text {towers.width_text}"
    findings = [
        Finding(
            "ok", "checkpoint", f"{towers.model_type} ({towers.kind}), {count / 1e6:.1f} M weights"
        ),
        Finding("ok", "widths", widths)
        if towers.width_image == towers.width_text
        else Finding("warn", "widths", f"{widths} differ", "the product goes through a projection"),
        _norms(vectors, "image"),
        _norms(texts, "text"),
        _token_length(towers),
        _lower_case(towers),
        _zero_shot(towers, vectors, present),
    ]
    shown = [show(finding) for finding in findings]  # every line, whatever the first ones say
    return all(shown)
