"""AGCH in small networks, trained on clear features: for the tests of its losses and figures."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmhash.losses.agch import agch_terms
from mmhash.models.agch import Agch, AgchOutput, agch_settings
from mmhash.models.cross_modal import CrossModalConfig
from mmhash.models.health import agch_diagnostics
from mmhash.params import load_params

PARAMS = Path(__file__).resolve().parents[1] / "params.yaml"
BLOCK = load_params(PARAMS).agch.model_dump()
NO_CURES = {
    "text_batch_norm": False,
    "leaky_relu": False,
    "first_layer_gain": 1.0,
    "direct_alignment": 0.0,
    "quantisation": 0.0,
    "balance": 0.0,
    "l3_weight": 1.0,
}
WEIGHTS = {"alpha": 0.4, "beta": 0.3, "lambda_h": 5.0, "delta": 0.01}
N, BITS = 7, 8
FAST = {"optimizer": "adam", "lr_adam": 0.01, "weight_decay": 0.0}


def config(**changes: Any) -> CrossModalConfig:
    """The paper's values for Wiki in small networks; cures.x is written cures_x."""
    block = copy.deepcopy(BLOCK) | {"hidden": 16, "graph_dims": [12, 10], "cures": dict(NO_CURES)}
    for key, value in (WEIGHTS | changes).items():
        if key.startswith("cures_"):
            block["cures"][key.removeprefix("cures_")] = value
        else:
            block[key] = value
    return CrossModalConfig("agch", 6, 9, BITS, agch_settings(block, "wiki"))


def output(**changes: Any) -> AgchOutput:
    """Codes and a similarity out of the air, in float64."""
    rng = np.random.default_rng(3)
    s = rng.uniform(0, 1, (N, N))
    s = torch.from_numpy((s + s.T) / 2)
    codes = [torch.from_numpy(np.tanh(rng.normal(size=(N, BITS)))) for _ in range(5)]
    return AgchOutput(s, 2 * s - 1, *codes)._replace(**changes)


def unit(code: torch.Tensor) -> np.ndarray:
    return code.numpy() / np.linalg.norm(code.numpy(), axis=1, keepdims=True)


def pairs(n: int = 32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Image and text features of four classes, with noise, and one-hot labels."""
    rng = np.random.default_rng(5)
    kind = np.arange(n) % 4
    image = rng.normal(size=(4, 6))[kind] + 0.2 * rng.normal(size=(n, 6))
    text = rng.normal(size=(4, 9))[kind] + 0.2 * rng.normal(size=(n, 9))
    return (
        torch.from_numpy(image).float(),
        torch.from_numpy(text).float(),
        torch.from_numpy(np.eye(4)[kind]),
    )


def train(steps: int = 50, **changes: Any) -> tuple[Agch, list[float], dict[str, float]]:
    """Train as the loop does; return the model, the loss at each step and the diagnostics."""
    torch.manual_seed(0)
    model = Agch(config(**changes))
    optimizer = model.optimizer()
    groups = optimizer.param_groups
    image, text, labels = pairs()
    losses = []
    for _ in range(steps):
        for turn in model.turns() or [list(range(len(groups)))]:
            loss = agch_terms(model.training_output(image, text, 1.0), model.config)["loss"]
            optimizer.zero_grad()
            loss.backward()
            for still in set(range(len(groups))) - set(turn):
                for p in groups[still]["params"]:
                    p.grad = None
            optimizer.step()
        losses.append(loss.item())
    model.eval()
    with torch.no_grad():
        return (
            model,
            losses,
            agch_diagnostics(model, model.training_output(image, text, 1.0), labels),
        )
