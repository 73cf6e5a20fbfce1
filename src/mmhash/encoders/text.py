"""Captions to token ids, as SigLIP and SigLIP 2 were trained.

The captions of the training were lower-cased, padded to 64 tokens and attended to WITH their pads:
the pooled position is the last one, mostly a pad (Zhai et al., "Sigmoid Loss for Language Image
Pre-Training", 2023; Tschannen et al., "SigLIP 2", 2025). So the ids are all the text tower gets;
an attention mask would change every vector.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

TRAINED_LENGTH = 64


def lowered(texts: Sequence[str]) -> list[str]:
    """Return the texts in lower case: tokenizers of published checkpoints do not all do it."""
    return [text.lower() for text in texts]


def token_ids(texts: Sequence[str], tokenizer: Any, length: int) -> torch.Tensor:
    """Return int64 (n, ``length``): ids of the lower-cased texts, truncated or padded to length."""
    encoded = tokenizer(
        lowered(texts),
        padding="max_length",
        max_length=length,
        truncation=True,
        return_attention_mask=False,
    )
    # The tokenizer's own way to a tensor is slow beside its work, and a GPU waits.
    return torch.from_numpy(np.array(encoded["input_ids"], dtype=np.int64))
