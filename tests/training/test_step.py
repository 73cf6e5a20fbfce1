"""The compiled step does what the plain one does."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from mmhash.losses.total import LossWeights
from mmhash.models.config import HashConfig
from mmhash.training import epoch, step
from mmhash.training.checkpoint import training_key
from mmhash.training.epoch import Run
from mmhash.training.settings import training_precision

from .conftest import make_data, make_model, make_settings

CPU = torch.device("cpu")


def rows_of(
    device: torch.device, compiled: bool, epochs: int = 3, **values: str | bool
) -> list[dict[str, float]]:
    """Train a model whose β rises and whose last micro batch is smaller than the others."""
    settings = make_settings(batch_size=7, num_epochs=epochs, **values)
    model = make_model(hash=HashConfig(bits=16, schedule="linear", scale_max=4.0))
    precision = replace(training_precision(settings, device), autocast=None, scale_gradients=False)
    run = Run(make_data(), model, LossWeights(), settings, precision, device, compiled=compiled)
    return [run.epoch(epoch)[0] for epoch in range(epochs)]


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Trace as ever, then run the graphs as they are: no C++ compiler. Sizes of the graphs."""
    sizes: list[int] = []

    def backend(graph: torch.fx.GraphModule, _: list[torch.Tensor]):
        sizes.append(len(graph.graph.nodes))
        return graph.forward

    trace = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **k: trace(f, backend=backend, dynamic=False))
    torch._dynamo.reset()
    yield sizes
    torch._dynamo.reset()


def test_a_compiled_training_gives_the_rows_of_a_plain_one(graphs: list[int]) -> None:
    plain, compiled = rows_of(CPU, False), rows_of(CPU, True)
    for expected, found in zip(plain, compiled, strict=True):
        assert found == pytest.approx(expected, rel=1e-5)
    # one graph a size of group (two whole micro batches, one whole, the last one), whatever β
    assert 1 <= len(graphs) <= 3
    assert min(graphs) > 20


class Replayed:
    """Stands for a step replayed as a graph: each call writes over the gradients of the last."""

    def __init__(self) -> None:
        self.handed_out: list[Tensor] = []

    def __call__(self, tagger: nn.Module, *arguments: object) -> tuple[Tensor, Tensor]:
        """Do the plain step; what its backward pass makes lies in the memory of the graph."""
        for gradient in self.handed_out:
            gradient.fill_(math.nan)
        self.handed_out = []
        for parameter in tagger.parameters():
            if parameter.grad is None:
                self._take(parameter)
        return step.step_terms(tagger, *arguments)

    def _take(self, parameter: nn.Parameter) -> None:
        def made(parameter: nn.Parameter) -> None:
            self.handed_out.append(parameter.grad)
            handle.remove()

        handle = parameter.register_post_accumulate_grad_hook(made)


@pytest.mark.parametrize("on_oom", ["stop", "halve"])  # groups of micro batches, or one by one
def test_the_gradients_of_a_step_outlive_the_next_replay(monkeypatch, on_oom: str) -> None:
    monkeypatch.setattr(epoch, "compiled_step", lambda *_: Replayed())
    plain, replayed = (rows_of(CPU, compiled, on_oom=on_oom) for compiled in (False, True))
    assert replayed == plain


@pytest.mark.parametrize("deterministic", [True, False])
def test_on_cuda_the_step_is_replayed_as_a_graph(monkeypatch, deterministic: bool) -> None:
    asked = {}
    monkeypatch.setattr(torch, "compile", lambda f, **options: asked.update(options) or f)
    step.compiled_step(torch.device("cuda"), deterministic)
    graph, alike = "triton.cudagraphs", "deterministic"
    assert asked == {"dynamic": False, "options": {graph: True, alike: deterministic}}
    torch._TorchCompileInductorWrapper(None, asked["options"], False)  # refuses unknown names
    step.compiled_step(CPU, deterministic)
    assert not asked["options"][graph]


def test_a_deterministic_training_is_compiled_to_the_same_code_each_time(monkeypatch) -> None:
    asked = []

    def plain(device: torch.device, deterministic: bool) -> step.StepTerms:
        asked.append(deterministic)
        return step.step_terms

    monkeypatch.setattr(epoch, "compiled_step", plain)
    for deterministic in (True, False):
        rows_of(CPU, True, epochs=1, deterministic=deterministic)
    assert asked == [True, False]


def test_a_compiled_training_resumes_no_plain_one() -> None:
    arguments = (make_model(), LossWeights(), make_settings(), {}, CPU)
    assert training_key(*arguments, compiled=True) != training_key(*arguments)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("on_oom", ["stop", "halve"])
def test_a_compiled_training_on_the_gpu_gives_the_rows_of_a_plain_one(on_oom: str) -> None:
    device = torch.device("cuda")
    plain, compiled = (rows_of(device, compiled, on_oom=on_oom) for compiled in (False, True))
    for expected, found in zip(plain, compiled, strict=True):
        assert found["loss"] == pytest.approx(expected["loss"], rel=1e-3)
