"""Zero-shot classification: every class as the mean direction of its prompts' texts."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from mmhash.errors import InputError


def prototypes(
    encode_texts: Callable[[Sequence[str]], torch.Tensor],
    names: Sequence[str],
    prompts: Sequence[str],
    batch: int = 256,
) -> np.ndarray:
    """Return one unit vector a class, float32 (C, width_text).

    ``encode_texts`` gives the vectors (n, width_text) of n texts. Each prompt template holds ``{}``
    for the class name. The texts' vectors are scaled to unit length, averaged over the templates
    and scaled again: their mean on the unit sphere (Radford et al., "Learning Transferable Visual
    Models From Natural Language Supervision", 2021, §3.1.4).
    Raises :class:`InputError` where there is no template, no name, or a template without ``{}``.
    """
    if not prompts or not names:
        raise InputError("zero-shot prototypes need at least one prompt and one category name")
    for prompt in prompts:
        if "{}" not in prompt:
            raise InputError(f"zeroshot.prompts: {prompt!r} has no {{}} for the class name")
    texts = [prompt.replace("{}", name) for name in names for prompt in prompts]
    vectors = np.concatenate(
        [
            encode_texts(texts[start : start + batch]).double().cpu().numpy()
            for start in range(0, len(texts), batch)
        ]
    )
    means = _unit(vectors).reshape(len(names), len(prompts), -1).mean(axis=1)
    return _unit(means).astype(np.float32)


def cosine_scores(image_features: np.ndarray, prototypes: np.ndarray) -> np.ndarray:
    """Return the cosine of every image (N, D) with every prototype (C, D): float32 (N, C)."""
    return (_unit(image_features.astype(np.float32)) @ prototypes.T).astype(np.float32)


def _unit(vectors: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(norms, np.finfo(vectors.dtype).tiny)
