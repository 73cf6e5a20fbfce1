"""HashNet's weighted pairwise likelihood."""

import numpy as np
import pytest
import torch

from mmhash.losses.pairwise import pairwise_across, pairwise_likelihood

RNG = np.random.default_rng(4)
H = np.tanh(RNG.normal(size=(6, 8)))
Y = (RNG.random((6, 3)) < 0.4).astype(float)
Y[0] = 0


def by_hand(h, y):
    pairs = [(i, j) for i in range(len(h)) for j in range(len(h)) if i != j]
    similar = {pair: float((y[pair[0]] * y[pair[1]]).any()) for pair in pairs}
    ones = sum(similar.values())
    total = 0.0
    for pair in pairs:
        x = 10 / h.shape[1] * h[pair[0]] @ h[pair[1]]
        s = similar[pair]
        weight = len(pairs) / (ones if s else len(pairs) - ones)
        total += weight * (np.log(1 + np.exp(x)) - s * x)
    return total / len(pairs)


@pytest.mark.parametrize("labels", [Y, np.zeros((6, 3)), np.ones((6, 3))])
def test_formula(labels):
    got = pairwise_likelihood(torch.from_numpy(H), torch.from_numpy(labels)).item()
    assert got == pytest.approx(by_hand(H, labels), rel=1e-10)


def test_gradient():
    h = torch.from_numpy(H).requires_grad_()
    assert torch.autograd.gradcheck(lambda h: pairwise_likelihood(h, torch.from_numpy(Y)), (h,))


def test_one_row_has_no_pair():
    assert pairwise_likelihood(torch.ones(1, 8), torch.ones(1, 3)).item() == 0


def test_codes_that_follow_the_labels_cost_less():
    labels = torch.eye(2).repeat(3, 1)
    good = torch.tensor([[1.0] * 8, [-1.0] * 8]).repeat(3, 1)
    assert pairwise_likelihood(good, labels) < 0.1 * pairwise_likelihood(-good[[0] * 6], labels)


def test_across_modalities_has_pairs_within_and_across_them():
    image, text = (torch.tanh(torch.from_numpy(RNG.normal(size=(5, 8)))) for _ in range(2))
    labels = torch.from_numpy(RNG.random((5, 3)) < 0.5).double()
    both = torch.cat([image, text]), labels.repeat(2, 1)
    torch.testing.assert_close(pairwise_across(image, text, labels), pairwise_likelihood(*both))
    # labels that all differ leave an item's own text as the one similar code
    same, other = torch.ones(2, 8), torch.stack([torch.ones(8), -torch.ones(8)])
    own = pairwise_across(other, other, torch.eye(2))
    assert own < pairwise_across(other, -other, torch.eye(2))
    assert own < pairwise_across(same, same, torch.eye(2))
