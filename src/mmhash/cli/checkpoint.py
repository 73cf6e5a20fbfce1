"""``mmhash doctor --checkpoint``: does a checkpoint give the features that the method needs?"""

import numpy as np
import torch
from PIL import Image

from mmhash.cli.report import Finding, show
from mmhash.data.sample.glyphs import CATEGORY_IDS, glyph
from mmhash.encoders.checkpoint import Towers, load_checkpoint
from mmhash.encoders.device import choose_device
from mmhash.encoders.pixels import Pictures, fit
from mmhash.encoders.prototypes import cosine_scores, prototypes
from mmhash.seeding import numpy_stream

PROMPTS = ("a drawing of a {}.", "a picture of a {}.")


def _drawings() -> list[tuple[str, Image.Image]]:
    """Return a drawing of each class on light grey, 224 × 224 pixels."""
    drawn = []
    for name in CATEGORY_IDS:
        page = Image.new("RGB", (224, 224), (226, 224, 216))
        art = glyph(name, 190, numpy_stream(0, "doctor", name))
        page.paste(art, ((224 - art.width) // 2, (224 - art.height) // 2), art)
        drawn.append((name, page))
    return drawn


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


def _zero_shot(towers: Towers, vectors: np.ndarray, names: list[str]) -> Finding:
    scores = cosine_scores(vectors, prototypes(towers, names, PROMPTS))
    rank = (scores > np.diag(scores)[:, None]).sum(axis=1)
    right, near = float((rank == 0).mean()), float((rank < 5).mean())
    chance = 5 / len(names)
    seen = f"{right:.0%} of {len(names)} drawings named right, {near:.0%} among the first five"
    if near < 2 * chance:
        return Finding(
            "fail", "zero-shot", f"{seen}; chance is {chance:.0%}", "wrong weights or preprocessing"
        )
    return Finding("ok", "zero-shot", f"{seen} (chance {1 / len(names):.0%} and {chance:.0%})")


def check_checkpoint(checkpoint: str, revision: str | None) -> bool:
    """Load ``checkpoint`` and print one line a check; return False where one failed.

    Checked are the widths, that the norms of pooled vectors vary, the token length, that captions
    are lower-cased, and that zero-shot naming of 80 drawings beats chance. Raises InputError
    where the checkpoint cannot be had or read.
    """
    towers = load_checkpoint(checkpoint, revision, choose_device("auto"))
    drawn = _drawings()
    names = [name for name, _ in drawn]
    fitted = [fit(page, towers.pixels) for _, page in drawn]
    pixels = torch.from_numpy(np.stack([row for row, _ in fitted]))
    grids = torch.tensor([grid for _, grid in fitted], dtype=torch.int64)
    vectors = towers.encode_images(Pictures(pixels, grids)).cpu().numpy()
    texts = towers.encode_texts([f"a drawing of a {name}" for name in names]).cpu().numpy()
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
        _zero_shot(towers, vectors, names),
    ]
    shown = [show(finding) for finding in findings]  # every line, whatever the first ones say
    return all(shown)
