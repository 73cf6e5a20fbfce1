"""The sum of the terms."""

import dataclasses

import pytest
import torch

from mmhash.losses.alignment import cosine_distance
from mmhash.losses.classification import asymmetric, bce, focal
from mmhash.losses.hashing import balance, decorrelation, quantisation
from mmhash.losses.pairwise import pairwise_likelihood
from mmhash.losses.total import TERMS, LossWeights, total_loss
from mmhash.models.tagger import TaggerOutput

G = torch.Generator().manual_seed(0)
H = torch.tanh(torch.randn(6, 8, generator=G))
D = torch.nn.functional.normalize(torch.randn(2, 6, 5, generator=G), dim=2)
OUTPUT = TaggerOutput(
    torch.randn(6, 3, generator=G), torch.randn(6, 4, generator=G), H, H, D[0], D[1]
)
Y = (torch.rand(6, 3, generator=G) < 0.5).float()
WEIGHTS = LossWeights(
    bce_weight=2.0, cosine_weight=0.5, hash_weight=0.3, lambda_balance=0.7, pairwise_weight=0.2
)


def test_the_total_is_the_weighted_sum_of_the_named_terms():
    terms = total_loss(OUTPUT, Y, WEIGHTS)
    assert tuple(terms) == TERMS
    code = quantisation(H) + 0.7 * balance(H) + 0.01 * decorrelation(H)
    torch.testing.assert_close(terms["hash"], code)
    torch.testing.assert_close(
        terms["loss"],
        2.0 * bce(OUTPUT.logits, Y)
        + 0.5 * cosine_distance(*D)
        + 0.3 * code
        + 0.2 * pairwise_likelihood(H, Y),
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("focal", lambda: focal(OUTPUT.logits, Y, 0.25, 2.0)),
        ("asymmetric", lambda: asymmetric(OUTPUT.logits, Y)),
        ("class_balanced", lambda: bce(OUTPUT.logits, Y)),
    ],
)
def test_the_classification_loss_is_the_one_named(name, expected):
    weights = dataclasses.replace(WEIGHTS, classification=name)
    terms = total_loss(OUTPUT, Y, weights, class_weights=torch.ones(3))
    torch.testing.assert_close(terms["classification"], expected())


def test_class_balanced_without_weights_is_our_own_mistake():
    with pytest.raises(ValueError, match="class_weights"):
        total_loss(OUTPUT, Y, LossWeights(classification="class_balanced"))


def test_without_hash_and_alignment_only_the_classification_is_left():
    output = OUTPUT._replace(u=None, h=None)
    terms = total_loss(output, Y, WEIGHTS, aligned=False)
    assert terms["loss"] == 2.0 * terms["classification"]
    assert all(terms[name] == 0 for name in TERMS if name not in ("loss", "classification"))


def test_an_unweighted_pairwise_term_is_not_computed():
    assert total_loss(OUTPUT, Y, LossWeights())["pairwise"] == 0


@pytest.mark.parametrize("kind", ["bce", "focal", "class_balanced", "asymmetric"])
def test_each_micro_batch_has_terms_of_its_own(kind):
    weights = dataclasses.replace(WEIGHTS, classification=kind)
    class_weights = torch.tensor([0.5, 1.0, 1.5])
    stacked = total_loss(OUTPUT.stacked(2), Y.view(2, 3, 3), weights, class_weights)
    for at, part in enumerate((slice(0, 3), slice(3, 6))):
        alone = TaggerOutput(*(t[part] for t in OUTPUT))
        for name, value in total_loss(alone, Y[part], weights, class_weights).items():
            torch.testing.assert_close(stacked[name][at], value)
    assert stacked["loss"][0] != stacked["loss"][1]
    bare = OUTPUT.stacked(2)._replace(u=None, h=None)
    assert {t.shape for t in total_loss(bare, Y.view(2, 3, 3), WEIGHTS).values()} == {(2,)}


def test_half_precision_outputs_are_summed_in_float32():
    output = OUTPUT._replace(logits=OUTPUT.logits.bfloat16())
    terms = total_loss(output, Y, WEIGHTS)
    assert all(term.dtype == torch.float32 for term in terms.values())
