"""Train the two tiny SigLIP checkpoints of the embedded sample on drawn pictures.

    python scripts/train_tiny_encoder.py

reads ``scripts/train_tiny_encoder.yaml`` and writes ``encoders/tiny-siglip`` (fixed resolution),
``encoders/tiny-siglip-naflex`` (aspect-preserving patches) and ``encoders/training.json``. Both
towers learn from image-caption pairs alone with the pairwise sigmoid loss (Zhai et al. 2023,
arXiv:2303.15343); the categories serve only the zero-shot figure on held-out pictures. The NaFlex
kind starts from the fixed one, whose patch convolution is the same linear map.

Pixels and, after every epoch, the whole training state lie under ``.cache/tiny_encoder``: an
interrupted run goes on where it was. Nothing is written to the output folder before the end.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_encoder_models import build_fixed, naflex_from_fixed, write_checkpoint
from tiny_encoder_pairs import (
    Batch,
    Pairs,
    Run,
    Settings,
    budget_of,
    draw_pairs,
    drawing_digest,
    fixed_inputs,
    naflex_inputs,
    read_settings,
    tokenise,
    train_tokenizer,
)

from mmhash.errors import InputError
from mmhash.files import atomic_path, cache_dir, digest, write_json
from mmhash.metrics.ranking import average_precision
from mmhash.progress import track
from mmhash.seeding import numpy_stream

HERE = Path(__file__).resolve().parent
Inputs = Callable[[Pairs, np.ndarray], Batch]
INPUTS: dict[str, Inputs] = {"fixed": fixed_inputs, "naflex": naflex_inputs}
FOLDERS = {"fixed": "tiny-siglip", "naflex": "tiny-siglip-naflex"}


# --- training -----------------------------------------------------------------------------------


def sigmoid_loss(
    image: torch.Tensor, text: torch.Tensor, log_scale: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """Return the pairwise sigmoid loss of n matching rows, image and text (n, width).

    −1/n Σ_ij log σ(z_ij (e^t' x_i·y_j + b)) with unit vectors x_i, y_j and z_ij = 1 where i = j,
    else −1 (Zhai et al. 2023, arXiv:2303.15343, equation 1).
    """
    logits = F.normalize(image) @ F.normalize(text).T * log_scale.exp() + bias
    sign = 2 * torch.eye(len(logits)) - 1
    return -F.logsigmoid(sign * logits).sum() / len(logits)


def learning_rate(step: int, steps: int, run: Run) -> float:
    """Return the learning rate of ``step`` in [0, steps): linear warm-up, then cosine to 0."""
    warm = max(1, round(run.warmup * steps))
    if step < warm:
        return run.learning_rate * (step + 1) / warm
    return run.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))


def make_optimizer(model: Any, run: Run) -> torch.optim.AdamW:
    """Return AdamW with weight decay on matrices only, not on gains, biases or the scale."""
    decayed = [weight for weight in model.parameters() if weight.ndim >= 2]
    others = [weight for weight in model.parameters() if weight.ndim < 2]
    groups = [
        {"params": decayed, "weight_decay": run.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=run.learning_rate, betas=(0.9, 0.98))


def train_step(
    model: Any, optimizer: torch.optim.AdamW, vision: Batch, text: torch.Tensor, clip_norm: float
) -> float:
    """Take one optimiser step on matching ``vision`` inputs and token ids; return the loss."""
    image = model.vision_model(**vision).pooler_output
    words = model.text_model(input_ids=text).pooler_output
    loss = sigmoid_loss(image, words, model.logit_scale, model.logit_bias)
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    return float(loss.detach())


def epoch_batches(
    kind: str, settings: Settings, run: Run, rng: np.random.Generator
) -> list[np.ndarray]:
    """Return the rows of each batch of an epoch; a NaFlex batch holds one patch budget only."""
    first = settings.pictures.held_out
    if kind == "fixed":
        groups = [np.arange(first, first + settings.pictures.training)]
    else:
        rows = np.arange(first, first + settings.pictures.naflex)
        budgets = np.array([budget_of(int(row), settings) for row in rows])
        groups = [rows[budgets == budget] for budget in np.unique(budgets)]
    batches = [
        rows[start : start + run.batch]
        for rows in map(rng.permutation, groups)
        for start in range(0, len(rows) - run.batch + 1, run.batch)
    ]
    return [batches[i] for i in rng.permutation(len(batches))]


def save_state(
    path: Path, model: Any, optimizer: torch.optim.AdamW, history: list[dict[str, float]]
) -> None:
    """Write weights and both moments of AdamW; the history goes along as JSON text."""
    tensors = {f"weight.{name}": value for name, value in model.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{key}": value for key, value in state.items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"history": json.dumps(history)})


def load_state(path: Path, model: Any, optimizer: torch.optim.AdamW) -> list[dict[str, float]]:
    """Restore what :func:`save_state` wrote; return the history."""
    tensors = load_file(path)
    weights = {n.removeprefix("weight."): t for n, t in tensors.items() if n.startswith("weight.")}
    model.load_state_dict(weights)
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, number, key = name.split(".")
            state.setdefault(int(number), {})[key] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    with safe_open(path, "pt") as stream:
        history: list[dict[str, float]] = json.loads(stream.metadata()["history"])
    return history


def fit(
    kind: str, model: Any, tokenizer: Any, pairs: Pairs, settings: Settings, state: Path
) -> list[dict[str, float]]:
    """Train ``model`` in place, from the last finished epoch where ``state`` exists.

    Returns a row an epoch: mean loss and, every few epochs, the zero-shot figure.
    """
    run: Run = getattr(settings, kind)
    tokens = [tokenise(tokenizer, texts, settings.towers.tokens) for texts in pairs.captions]
    optimizer = make_optimizer(model, run)
    history = load_state(state, model, optimizer) if state.exists() else []
    for epoch in range(len(history), run.epochs):
        rng = numpy_stream(settings.seed, kind, "epoch", epoch)
        batches = epoch_batches(kind, settings, run, rng)
        losses = []
        for number, rows in enumerate(track(batches, len(batches), f"{kind}, epoch {epoch + 1}")):
            rate = learning_rate(epoch * len(batches) + number, run.epochs * len(batches), run)
            for group in optimizer.param_groups:
                group["lr"] = rate
            text = torch.stack([tokens[row][rng.integers(len(tokens[row]))] for row in rows])
            vision = INPUTS[kind](pairs, rows)
            losses.append(train_step(model, optimizer, vision, text, run.clip_norm))
        history.append({"epoch": epoch + 1, "loss": float(np.mean(losses))})
        if (epoch + 1) % run.evaluate_every == 0 or epoch + 1 == run.epochs:
            history[-1] |= zero_shot(kind, model, tokenizer, pairs, settings)
        print(kind, *(f"{key} {value:.4g}" for key, value in history[-1].items()), flush=True)
        save_state(state, model, optimizer, history)
    return history


# --- evaluation ---------------------------------------------------------------------------------


def zero_shot(
    kind: str, model: Any, tokenizer: Any, pairs: Pairs, settings: Settings
) -> dict[str, float]:
    """Return the figures of ``model`` on the held-out pictures.

    Zero-shot macro mAP over the categories that occur, with prompts averaged on the unit sphere;
    the mAP of chance (mean share of relevant pictures); the spread of the image norms.
    """
    rows = np.arange(settings.pictures.held_out)
    names = sorted({name for row in rows for name in pairs.categories[row]})
    parts = np.array_split(rows, math.ceil(len(rows) / 200))
    prototypes = torch.zeros(len(names), settings.towers.width)
    with torch.inference_mode():
        image = torch.cat(
            [model.vision_model(**INPUTS[kind](pairs, part)).pooler_output for part in parts]
        )
        for template in settings.prompts:
            texts = [template.format(name) for name in names]
            ids = tokenise(tokenizer, texts, settings.towers.tokens)
            prototypes += F.normalize(model.text_model(input_ids=ids).pooler_output)
    scores = (F.normalize(image) @ F.normalize(prototypes).T).numpy()
    labels = np.array([[name in pairs.categories[row] for name in names] for row in rows])
    norms = image.norm(dim=1)
    return {
        "zero_shot_mAP": float(average_precision(scores, labels).mean()),
        "chance_mAP": float(labels.mean()),
        "norm_variation": float(norms.std() / norms.mean()),
    }


def state_path(kind: str, settings: Settings) -> Path:
    """Return where the training state of ``kind`` lies, by everything that determines it."""
    later = {"processes", "naflex"} if kind == "fixed" else {"processes"}
    code = [path.read_text(encoding="utf-8") for path in sorted(HERE.glob("*tiny_encoder*.py"))]
    key = digest(kind, settings.model_dump(exclude=later), code, drawing_digest())
    return cache_dir("tiny_encoder", key) / f"{kind}.safetensors"


def main(arguments: list[str] | None = None) -> None:
    """Draw, train both kinds, write both checkpoints and their figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=Path, default=HERE / "train_tiny_encoder.yaml")
    parser.add_argument("--output", type=Path, default=Path("encoders"))
    options = parser.parse_args(arguments)
    settings = read_settings(options.params)
    torch.set_num_threads(1)  # sums in one order, whatever the number of cores
    pairs = draw_pairs(settings)
    first = settings.pictures.held_out
    texts = (text for row in pairs.captions[first:] for text in row)
    tokenizer = train_tokenizer(texts, settings.towers)

    report: dict[str, Any] = {"drawing_sha256": drawing_digest()}
    trained: dict[str, Any] = {}
    for kind in FOLDERS:
        model = (
            build_fixed(settings.towers, tokenizer, settings.seed)
            if kind == "fixed"
            else naflex_from_fixed(trained["fixed"])
        )
        history = fit(kind, model, tokenizer, pairs, settings, state_path(kind, settings))
        rounded = model.half().float()  # the figures are those of the weights as stored
        run: Run = getattr(settings, kind)
        batches = epoch_batches(kind, settings, run, numpy_stream(settings.seed, "count"))
        report[kind] = {
            "parameters": sum(weight.numel() for weight in rounded.parameters()),
            "pairs_seen": run.epochs * sum(map(len, batches)),
            "loss": history[-1]["loss"],
            **zero_shot(kind, rounded, tokenizer, pairs, settings),
            "history": history,
        }
        trained[kind] = rounded
    for kind, folder in FOLDERS.items():
        write_checkpoint(
            options.output / folder, kind, trained[kind], tokenizer, settings, report[kind]
        )
    write_json(options.output / "training.json", report)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: the same command goes on from the last finished epoch")
