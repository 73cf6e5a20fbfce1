"""Studies of the cross-modal methods: retrieval from image to text and from text to image."""

from typing import Any

from mmhash.ablations.study import Row, Study, rows_of
from mmhash.metrics.tasks import CROSSING

BITS = (16, 32, 64, 128)
BOTH_WAYS = tuple(
    f"across.test.{task}.{figure}" for figure in ("mAP@50", "mAP@all") for task in CROSSING
)
CHANCE = tuple(f"{figure}_chance" for figure in BOTH_WAYS[::2])
PAIRS = ("across.test.text_to_fused.mAP@50", "across.test.text_to_fused.mAP@all")
HEALTH = (
    *("s_label_correlation", "s_gap", "graph_output_std_image", "graph_output_std_text"),
    *("sign_agreement_image", "sign_agreement_text", "it_distance", "it_distance_others"),
    *("text_output_mean", "unique_fused"),
)
AGCH, UCMFH = {"model.name": "agch"}, {"model.name": "ucmfh"}
NO_LEAK = {"ucmfh.attention": "sample", "ucmfh.query": "single"}
# Against collapse on shallow features; chosen on val of Wiki (README, "Cross-modal hashing").
CURED = {
    **AGCH,
    "agch.optimizer": "adam",
    "agch.batch_size": 128,
    "agch.num_epochs": 60,
    "agch.text_normalisation": True,
    "agch.cures.text_batch_norm": True,
    "agch.cures.first_layer_gain": 2.0,
    "agch.cures.direct_alignment": 30.0,
    "agch.cures.quantisation": 0.1,
    "agch.cures.balance": 1.0,
}
# What is compared: a method and how it differs from its block of params.yaml.
METHODS: dict[str, dict[str, Any]] = {
    "AGCH as published": AGCH,
    "AGCH with cures": CURED,
    "UCMFH as published": UCMFH,
    "UCMFH without leak": {**UCMFH, **NO_LEAK},
    "main method": {"align.projection": True, "evaluate.across": "always"},
    **{
        title: {"model.name": "shallow", "shallow.method": method}
        for title, method in (
            ("CMFH", "cmfh"),
            ("SCM (labels)", "scm"),
            ("CCA + ITQ", "cca_itq"),
            ("CCA + random hyperplanes", "random_hyperplanes"),
        )
    },
}
NOTE = (
    "I→T: images of the test split ask, texts of the database answer; T→I the other way; T→pair: "
    "texts ask and codes of whole pairs answer, as published protocols often have it, so that a "
    "text also meets the text of each item. Items are relevant that share a label. mAP@50 is the "
    "mean precision at the hits among the first 50, the published protocol; mAP@all ranks the "
    "whole database. Expectations over ties; the scatter over seeds is all that is said of "
    "differences between these figures. Networks keep the epoch with the best mAP@all on val (mean "
    "of both ways), whose labels are read for that."
)
FUSED_NOTE = "The column of mAP is that of tags: the neighbours of whole pairs vote."


def _agch(name: str, **settings: Any) -> Row:
    return Row(name, {f"agch.{key.replace('__', '.')}": value for key, value in settings.items()})


def _ucmfh(name: str, **settings: Any) -> Row:
    return Row(name, {f"ucmfh.{key}": value for key, value in settings.items()})


def _agch_study(name: str, title: str, baseline: str, rows: tuple[Row, ...]) -> Study:
    """Return a study of rows that change the published AGCH."""
    return Study(
        name,
        title,
        baseline,
        rows,
        heads=("knn",),
        also=BOTH_WAYS,
        common=AGCH,
        notes=(NOTE, FUSED_NOTE),
        picture="across",
    )


STUDIES = (
    Study(
        "cross_modal",
        "Cross-modal hashing: every method and code length",
        "AGCH with cures, 64 bits",
        (
            *(
                Row(f"{method}, {bits} bits", {**overrides, "hash.bits": bits})
                for method, overrides in METHODS.items()
                for bits in BITS
            ),
            Row("CCA, real vectors", {"model.name": "shallow", "shallow.method": "cca"}),
        ),
        heads=("knn",),
        also=(*BOTH_WAYS, *PAIRS, *CHANCE),
        notes=(
            NOTE,
            FUSED_NOTE,
            "SCM and the main method learn from the labels of the training images, the others "
            "from pairs alone, but for the choice of the epoch. UCMFH as published sees both "
            "modalities of a query, and the other "
            "queries of its batch.",
        ),
        picture="across",
    ),
    _agch_study(
        "agch_variants",
        "AGCH-1 to AGCH-5: what the similarity, the fusion and the graph are worth",
        "AGCH",
        (
            Row("AGCH"),
            _agch("AGCH-1: cosine only", similarity="cosine"),
            _agch("AGCH-2: Euclid only", similarity="euclid"),
            _agch("AGCH-3: mixed by a sum", similarity="sum"),
            _agch("AGCH-4: no fusion", fusion=False),
            _agch("AGCH-5: no graph", graph=False),
        ),
    ),
    Study(
        "agch_suspects",
        "AGCH: what is said to kill it, one at a time",
        "AGCH with cures",
        (
            Row("AGCH with cures"),
            _agch("S re-scaled before the graph", graph_input="rescaled"),
            _agch("graph fed with codes", graph_features="codes"),
            _agch("a root in D", distance="root"),
            _agch("no second normalisation", second_normalisation=False),
            _agch("sum in place of the product", similarity="sum"),
            _agch("text not normalised", text_normalisation=False),
            _agch("no direct alignment", cures__direct_alignment=0.0),
            _agch("no quantisation and balance", cures__quantisation=0.0, cures__balance=0.0),
            _agch("rates by network (SGD) for one rate (Adam)", optimizer="sgd"),
        ),
        heads=("knn",),
        also=(*BOTH_WAYS, *(f"across.health.{name}" for name in HEALTH)),
        common=CURED,
        notes=(
            NOTE,
            "Each row takes one thing away from the method with cures, or puts one suspect in. "
            "Health, on test pairs: s_label_correlation, "
            "how the similarity of training agrees with labels; s_gap, its mean over pairs that "
            "share a label minus that over the others; graph_output_std and sign_agreement (with "
            "the fused codes; 0.5 is chance) of the graph's codes; it_distance of an image's code "
            "to its own text's and to others'; the mean output of the text encoder; the share of "
            "fused codes that are distinct.",
        ),
        picture="across",
    ),
    _agch_study(
        "agch_cures",
        "AGCH: cures against collapse, and two proposals that were turned down",
        "AGCH",
        (
            Row("AGCH"),
            _agch("BatchNorm of the text", cures__text_batch_norm=True),
            _agch("LeakyReLU", cures__leaky_relu=True),
            _agch("first-layer gain 2", cures__first_layer_gain=2.0),
            _agch("direct alignment 30", cures__direct_alignment=30.0),
            _agch("quantisation 0.1", cures__quantisation=0.1),
            _agch("balance 0.1", cures__balance=0.1),
            _agch("L3 weight 0.1", cures__l3_weight=0.1),
            _agch(
                "all of them",
                cures__text_batch_norm=True,
                cures__leaky_relu=True,
                cures__first_layer_gain=2.0,
                cures__direct_alignment=30.0,
                cures__quantisation=0.1,
                cures__balance=0.1,
                cures__l3_weight=0.1,
            ),
            _agch("positive mapping (C + 1) / 2", positive_mapping=True),
            _agch("graph with shortcuts", graph_residual=True),
        ),
    ),
    _agch_study(
        "agch_settings",
        "AGCH: weights, batch, rates and scale",
        "AGCH",
        (
            Row("AGCH"),
            _agch("delta 1", delta=1.0),
            _agch("batch 128", batch_size=128),
            _agch("text rate 0.001", lr_text=0.001),
            _agch("one Adam rate for all", optimizer="adam"),
            _agch("30 epochs", num_epochs=30),
            _agch("30 epochs, rates fall after 15 and 22", num_epochs=30, milestones=[15, 22]),
            *rows_of("rho {:g}", "agch.rho", (1.0, 2.0, 8.0)),
            *rows_of("gamma_v {:g}", "agch.gamma_v", (0.5, 4.0)),
            *rows_of("gamma_t {:g}", "agch.gamma_t", (0.1, 1.5)),
        ),
    ),
    _agch_study(
        "agch_depth",
        "AGCH: how many graph layers",
        "two graph layers",
        (
            _agch("one graph layer", graph_dims=[512]),
            _agch("two graph layers", graph_dims=[1024, 512]),
            _agch("three graph layers", graph_dims=[1024, 1024, 512]),
        ),
    ),
    Study(
        "ucmfh",
        "UCMFH: who sees whom, and the options",
        "as published",
        (
            Row("as published"),
            _ucmfh("batch attention, one modality a query", query="single"),
            _ucmfh("sample attention, both modalities", attention="sample"),
            _ucmfh("without leak", attention="sample", query="single"),
            _ucmfh("hash networks without hidden layer", hidden=0),
            Row(
                "progressive hashing",
                {"hash.schedule": "linear", "hash.scale_max": 10.0},
            ),
            Row("weighted pairwise loss (labels)", {"loss.pairwise_weight": 0.1}),
        ),
        heads=("knn",),
        also=(
            *BOTH_WAYS,
            *(
                f"across.leak.{side}_{cause}"
                for side in ("image", "text")
                for cause in ("batch_mates", "other_modality")
            ),
        ),
        common=UCMFH,
        notes=(
            NOTE,
            "Leak: the share of bits of a test code that change when only the other rows of its "
            "batch change (batch_mates), or only the other modality of the same row "
            "(other_modality). 0 where a code depends on its own input alone.",
        ),
        picture="across",
    ),
)
