from typing import Any

import numpy as np
import pytest
import torch

from mmhash.models.agch import Agch
from mmhash.models.health import agch_complaints, agch_diagnostics, pair_figures, unique_share

from ..agch_models import BLOCK, FAST, N, config, output, pairs, train, unit


def test_unique_share():
    code = torch.tensor([[0.1, -0.2], [0.9, -0.1], [-0.5, 0.0], [0.0, -1.0]])
    assert unique_share(code) == 2 / 4


def test_pair_figures_by_hand():
    labels = torch.tensor([[1, 0], [1, 1], [0, 1], [0, 0]])
    rng = np.random.default_rng(0)
    s = rng.uniform(size=(4, 4))
    s = (s + s.T) / 2
    got = pair_figures(torch.from_numpy(s), labels)
    upper = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    same = [0.5**0.5, 0, 0, 0.5**0.5, 0, 0]
    values = np.array([s[pair] for pair in upper])
    assert got["s_label_correlation"] == pytest.approx(np.corrcoef(values, same)[0, 1])
    assert got["s_positive"] == pytest.approx(values[[0, 3]].mean())
    assert got["s_negative"] == pytest.approx(values[[1, 2, 4, 5]].mean())
    assert got["s_gap"] == pytest.approx(got["s_positive"] - got["s_negative"])
    assert got["positive_pairs"] == pytest.approx(2 / 6)


@pytest.mark.parametrize("labels", [torch.ones(4, 1), torch.zeros(4, 1)])
def test_labels_without_contrast_give_numbers(labels):
    got = pair_figures(torch.rand(4, 4), labels)
    assert got["s_label_correlation"] == 0
    assert np.isfinite(list(got.values())).all()


def test_diagnostics_by_hand():
    torch.manual_seed(0)
    model, out = Agch(config()), output()
    got = agch_diagnostics(model, out, torch.eye(N))
    v, t = unit(out.image), unit(out.text)
    distance = np.linalg.norm(v[:, None] - t[None], axis=2)
    off = ~np.eye(N, dtype=bool)
    weights = [p.detach().numpy().ravel() for p in model.graphs.parameters() if p.ndim == 2]
    expected = {
        "unique_fused": len(np.unique(out.fused.numpy() >= 0, axis=0)) / N,
        "it_distance": distance.diagonal().mean(),
        "it_distance_others": distance[off].mean(),
        "text_output_mean": out.text.numpy().mean(),
        "graph_weight_std": np.concatenate(weights).std(),
        "graph_output_std_image": out.graph_image.numpy().std(axis=0).mean(),
        "graph_output_std_text": out.graph_text.numpy().std(axis=0).mean(),
        "sign_agreement_image": ((out.graph_image >= 0) == (out.fused >= 0)).numpy().mean(),
        "sign_agreement_text": ((out.graph_text >= 0) == (out.fused >= 0)).numpy().mean(),
    }
    for name, number in expected.items():
        assert got[name] == pytest.approx(number, rel=1e-5), name
    assert all(type(number) is float for number in got.values())


def test_without_the_graph_there_are_no_figures_of_it():
    model = Agch(config(graph=False))
    got = agch_diagnostics(model, output(graph_image=None, graph_text=None), torch.eye(N))
    assert not any(name.startswith(("graph_", "sign_")) for name in got)
    agch_complaints(got)


def test_a_model_that_learnt_from_clear_features_has_no_complaint():
    _, _, figures = train(100, **FAST, delta=1.0)
    assert figures["s_label_correlation"] > 0.8
    assert agch_complaints(figures) == []


def test_a_graph_that_joins_all_alike_is_complained_about():
    torch.manual_seed(0)
    model = Agch(config(similarity="euclid", rho=1e6, batch_size=512)).eval()
    image, text, labels = pairs()
    with torch.no_grad():
        figures = agch_diagnostics(model, model.training_output(image, text, 1.0), labels)
    complaints = agch_complaints(figures)
    assert any("the image graph's output varies" in complaint for complaint in complaints)
    assert any("the text graph's output varies" in complaint for complaint in complaints)


HEALTHY = {
    "unique_image": 0.9,
    "unique_text": 0.9,
    "unique_fused": 0.9,
    "s_label_correlation": 0.3,
    "positive_pairs": 0.1,
    "it_distance": 0.8,
    "it_distance_others": 1.3,
    "text_output_mean": -0.02,
    "graph_output_std_image": 0.3,
    "graph_output_std_text": 0.3,
    "sign_agreement_image": 0.8,
    "sign_agreement_text": 0.8,
}


@pytest.mark.parametrize(
    ("figures", "word"),
    [
        ({"unique_image": 0.01}, "collapsed"),
        ({"unique_text": 0.04}, "text codes"),
        ({"s_label_correlation": 0.01}, "labels"),
        ({"text_output_mean": -0.9}, "saturated"),
        ({"it_distance": 1.29}, "unrelated"),
        ({"graph_output_std_text": 0.01}, "text graph's output varies"),
        ({"sign_agreement_image": 0.52}, "chance"),
        ({"it_distance": float("nan"), "unique_text": 0.0}, "diverged"),
    ],
)
def test_each_failure_has_one_sentence(figures, word):
    assert agch_complaints(HEALTHY) == []
    complaints = agch_complaints(HEALTHY | figures)
    assert len(complaints) == 1
    assert word in complaints[0]
    assert "\n" not in complaints[0]


def test_labels_without_contrast_are_no_reason_to_complain():
    assert agch_complaints(HEALTHY | {"s_label_correlation": 0.0, "positive_pairs": 0.0}) == []


def test_a_complaint_names_settings_that_there_are():
    broken = dict.fromkeys(HEALTHY, 0.0) | {
        "text_output_mean": 1.0,
        "positive_pairs": 0.5,
        "it_distance": 1.0,
    }
    words = " ".join(agch_complaints(broken)).replace(",", " ").replace(";", " ").split()
    named = {word.split("=")[0] for word in words if word.startswith("agch.")}
    assert named
    for name in named:
        place: Any = BLOCK
        for key in name.split(".")[1:]:
            place = place[key]
