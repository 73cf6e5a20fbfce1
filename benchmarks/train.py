"""Training steps at COCO's size against the time of their matrix products and optimiser alone.

    python benchmarks/train.py

113,287 rows × (image + 5 captions) × 768, random float16 features, the main method and batch of
``params.yaml``. Slices of ours and of the reference alternate, and the medians are compared:

- ours: :class:`mmhash.training.epoch.Run`, everything that an epoch does but validation;
- (a): the products of every linear layer, forward and backward, and AdamW, on tensors that are
  there already: no gathering, decomposition, activation, dropout, BatchNorm, loss or bookkeeping;
- (b): the towers in every epoch, as the plan has it: the base architecture with random weights,
  float32, measured on a few pictures and captions and extrapolated.

Prints one table and writes it to ``benchmarks/results/``; ``ratio`` is ours over the reference.
"""

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
import torch
from machine import machine_name
from training_runs import PARAMS
from transformers import SiglipConfig, SiglipModel

from mmhash.experiment import loss_weights, model_config, train_settings
from mmhash.files import write_json
from mmhash.params import Params, load_params
from mmhash.seeding import numpy_stream
from mmhash.training.batches import Features
from mmhash.training.epoch import Run, one_thread
from mmhash.training.settings import TrainingData, training_precision

ROWS, CAPTIONS, WIDTH, CLASSES = 113_287, 5, 768, 80
EPOCHS = 30


def features() -> Features:
    """Return random features of COCO's size; 1 GB."""
    draw = numpy_stream(1, "benchmark", "train")

    def vectors(count: int) -> np.ndarray:
        made = np.empty((count, WIDTH), dtype=np.float16)
        for start in range(0, count, 65_536):
            part = made[start : start + 65_536]
            part[:] = draw.standard_normal(part.shape, dtype=np.float32)
        return made

    labels = (draw.random((ROWS, CLASSES)) < 2.9 / CLASSES).astype(np.uint8)
    offset = np.arange(ROWS + 1, dtype=np.int64) * CAPTIONS
    return Features(vectors(ROWS), vectors(ROWS * CAPTIONS), offset, labels)


def ours(data: Features, params: Params, rows: int, device: torch.device) -> Callable[[], None]:
    """Return a function that trains ``rows`` rows of the whole set, another draw each time."""
    settings = train_settings(params)
    model = model_config(params, WIDTH, WIDTH, CLASSES)
    chosen = numpy_stream(1, "benchmark", "rows").permutation(ROWS)[:rows]
    names = tuple(str(number) for number in range(CLASSES))
    run = Run(
        TrainingData(data, chosen, chosen[:64], names),
        model,
        loss_weights(params),
        settings,
        training_precision(settings, device),
        device,
    )
    epoch = 0

    def train() -> None:
        nonlocal epoch
        with one_thread():
            run._train(epoch, 1.0)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        epoch = (epoch + 1) % settings.num_epochs

    return train


def products(params: Params, rows: int, device: torch.device) -> Callable[[], None]:
    """Return a function that does reference (a) for ``rows`` rows."""
    settings, dims = train_settings(params), params.fusion.mlp_dims
    widths = [3 * WIDTH + 2, *dims, params.hash.bits, CLASSES]
    batch, accumulation = settings.batch_size, settings.gradient_accumulation_steps
    weights = [
        torch.randn(out, into, device=device) / into**0.5
        for into, out in itertools.pairwise(widths)
    ]
    biases = [torch.zeros(out, device=device) for out in widths[1:]]
    inputs = [torch.randn(batch, width, device=device) for width in widths]
    gradients = [torch.zeros_like(tensor) for tensor in (*weights, *biases)]
    for tensor, gradient in zip((*weights, *biases), gradients, strict=True):
        tensor.grad = gradient
    optimizer = torch.optim.AdamW([*weights, *biases], lr=1e-8, fused=True)

    def train() -> None:
        with one_thread(), torch.no_grad():
            for _ in range(rows // (batch * accumulation)):
                for _ in range(accumulation):
                    for weight, bias, x in zip(weights, biases, inputs[:-1], strict=True):
                        torch.addmm(bias, x, weight.T)
                    for at in reversed(range(len(weights))):
                        gradient = inputs[at + 1]
                        gradients[at].addmm_(gradient.T, inputs[at])
                        gradients[len(weights) + at].add_(gradient.sum(dim=0))
                        if at:
                            torch.mm(gradient, weights[at])
                optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return train


def towers_seconds(device: torch.device, pictures: int = 16) -> float:
    """Return the seconds that the base towers take for one picture and one caption of 64 tokens."""
    shape: dict[str, Any] = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
    shape["intermediate_size"] = 3072
    config = SiglipConfig(
        vision_config=shape | {"image_size": 256, "patch_size": 16},
        text_config=shape | {"vocab_size": 32_000, "max_position_embeddings": 64},
    )
    model = SiglipModel(config).eval().to(device)
    pixels = torch.randn(pictures, 3, 256, 256, device=device)
    tokens = torch.zeros(pictures, 64, dtype=torch.long, device=device)
    taken = []
    with torch.inference_mode():
        for _ in range(3):
            start = time.perf_counter()
            model.get_image_features(pixel_values=pixels)
            model.get_text_features(input_ids=tokens)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            taken.append((time.perf_counter() - start) / pictures)
    return min(taken)


def main() -> None:
    """Alternate, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=16_384, help="rows of a slice")
    parser.add_argument("--slices", type=int, default=5)
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    params = load_params(PARAMS)
    data = features()
    work = {
        "ours": ours(data, params, arguments.rows, device),
        "a": products(params, arguments.rows, device),
    }
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for number in range(arguments.slices + 1):
        for name, train in work.items():
            start = time.perf_counter()
            train()
            if number:  # the first slice warms up
                seconds[name].append(time.perf_counter() - start)
    share = ROWS / arguments.rows * EPOCHS
    found = {name: statistics.median(taken) * share for name, taken in seconds.items()}
    found["b"] = towers_seconds(device) * ROWS * EPOCHS + found["ours"]
    ratio = {name: found["ours"] / value for name, value in found.items()}
    print(
        f"| {EPOCHS} epochs of steps, extrapolated | minutes | ours / this |\n| --- | --- | --- |"
    )
    titles = {
        "ours": "ours",
        "a": "(a) matrix products and optimiser alone",
        "b": "(b) towers in every epoch",
    }
    for name, title in titles.items():
        print(f"| {title} | {found[name] / 60:.1f} | {ratio[name]:.4f} |")
    machine = machine_name()
    if device.type == "cuda":
        machine = torch.cuda.get_device_name(device).replace(" ", "-")
    write_json(
        Path(__file__).resolve().parent / "results" / f"train-{machine}.json",
        {"data": "random features", "rows": ROWS, "epochs": EPOCHS, "machine": machine}
        | {"seconds": {name: round(value, 1) for name, value in found.items()}}
        | {"ratio": {name: round(ratio[name], 5) for name in ("a", "b")}}
        | {"slices": {name: [round(s, 3) for s in taken] for name, taken in seconds.items()}},
    )


if __name__ == "__main__":
    main()
