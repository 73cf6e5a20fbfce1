"""Which weights learn."""

from pathlib import Path

import pytest
import torch
from transformers.models.siglip2.modeling_siglip2 import Siglip2VisionEmbeddings

from mmhash.encoders.checkpoint import Towers, load_checkpoint
from mmhash.encoders.pixels import decode
from mmhash.encoders.unfreeze import resized_positions, unfreeze

TEXTS = ["a dog on a bench", "two cats", "the sky, blue"]
BEHIND = (
    *("vision_model.post_layernorm.", "vision_model.head."),
    *("text_model.final_layer_norm.", "text_model.head."),
)
# The checkpoints have two layers a tower.
LAST = ("vision_model.encoder.layers.1.", "text_model.encoder.layers.1.", *BEHIND)
LAYERS = ("vision_model.encoder.layers.", "text_model.encoder.layers.", *BEHIND)
LEARNING = {
    ("none", 1): (),
    ("last_n", 1): LAST,
    ("last_n", 2): LAYERS,
    ("last_n", 9): LAYERS,
    ("all", 1): ("vision_model.", "text_model."),
}


def fresh(folder: Path) -> Towers:
    return load_checkpoint(str(folder), None, torch.device("cpu"))


def backward(towers: Towers, pictures: list[Path]) -> None:
    """Send a gradient into both pooled outputs."""
    seen, _ = decode(pictures, towers.pixels)
    stream = torch.Generator().manual_seed(0)
    for vectors in (towers.image_vectors(seen), towers.text_vectors(TEXTS)):
        (vectors * torch.randn(vectors.shape, generator=stream)).sum().backward()


@pytest.mark.parametrize(("which", "last_n"), LEARNING)
def test_the_gradient_reaches_the_named_layers_and_no_other(
    folder: Path, pictures: list[Path], which, last_n: int
) -> None:
    towers = fresh(folder)
    learning = unfreeze(towers, which, last_n)
    before = {name: p.detach().clone() for name, p in towers.model.named_parameters()}
    expected = {name for name in before if name.startswith(LEARNING[which, last_n] or ("?",))}
    assert learning.keys() == expected
    if which == "none":
        assert not towers.image_vectors(decode(pictures, towers.pixels)[0]).requires_grad
        return
    backward(towers, pictures)
    own = dict(towers.model.named_parameters())
    assert {name for name, p in own.items() if p.grad is not None} == expected
    optimizer = torch.optim.AdamW(learning.values(), lr=1e-2)
    optimizer.step()
    moved = {name for name, p in own.items() if not torch.equal(p, before[name])}
    assert moved == expected


def test_inference_gives_the_vectors_that_the_training_computes(
    folder: Path, pictures: list[Path]
) -> None:
    frozen, learning = fresh(folder), fresh(folder)
    unfreeze(learning, "all", 1)
    seen, _ = decode(pictures, frozen.pixels)
    torch.testing.assert_close(
        learning.image_vectors(seen).detach(), frozen.encode_images(seen), atol=1e-5, rtol=1e-5
    )
    assert torch.equal(learning.text_vectors(TEXTS).detach(), frozen.encode_texts(TEXTS))


@pytest.mark.parametrize("which", ["last_n", "all"])
def test_gradient_checkpointing_computes_again_and_gives_the_same_gradients(
    folder: Path, pictures: list[Path], which
) -> None:
    found, passes = [], []
    for checkpointing in (False, True):
        towers = fresh(folder)
        learning = unfreeze(towers, which, 1, checkpointing)
        calls: list[int] = []
        last = towers.model.vision_model.encoder.layers[-1].mlp
        last.register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        towers.model.train()
        backward(towers, pictures)
        found.append({name: p.grad for name, p in learning.items()})
        passes.append(len(calls))
    assert passes == [1, 2]
    for name, gradient in found[0].items():
        assert torch.equal(gradient, found[1][name]), name


@pytest.mark.parametrize("grid", [(4, 4), (2, 9), (12, 2), (1, 1), (7, 5)])
def test_resized_positions_are_those_of_the_published_code(grid: tuple[int, int]) -> None:
    stream = torch.Generator().manual_seed(0)
    shapes = torch.tensor([grid, (3, 3)])
    weight = torch.randn(35, 2, 6, generator=stream, dtype=torch.float32)
    results = []
    for resize in (Siglip2VisionEmbeddings.resize_positional_embeddings, resized_positions):
        positions = torch.randn(4, 4, 6, generator=stream.manual_seed(1)).requires_grad_()
        out = resize(positions, shapes, 35)
        (out * weight.transpose(0, 1)).sum().backward()
        results.append((out.detach(), positions.grad))
    for theirs, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
