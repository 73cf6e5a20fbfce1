"""Studies of the main method and of its baselines."""

from mmhash.ablations.study import ALPHA, Overrides, Row, Study, rows_of

# The experiment plan's own values, whatever the defaults have become. Training length is left out:
# the sample has 57 optimiser steps an epoch where COCO has 1,771, so add there
# -S train.num_epochs=200 -S train.early_stopping_patience=200, as benchmarks/sample_methods.py.
PLAN_AS_WRITTEN: Overrides = {
    "fusion.type": "hadamard_with_magnitude",
    "hash.enabled": True,
    "hash.batch_norm": False,
    "hash.schedule": "constant",
    "classifier.prior_init": False,
    "align.projection": False,
    "loss.classification": "bce",
    "loss.bce_weight": 1.0,
    "loss.cosine_weight": 1.0,
    "loss.hash_weight": 0.1,
    "loss.hash_reg.lambda_balance": 0.1,
    "loss.hash_reg.lambda_decorr": 0.01,
    "loss.pairwise_weight": 0.0,
    "index.captions": "first",
    "knn.k": 20,
    "knn.distance": "hamming",
    "knn.voting": "softmax",
    "knn.tau": 0.07,
}

EXPECTED = "The plan expected (on MS-COCO, not measured)"
GAMMA = "loss.hash_weight"
HASH_TERM = (GAMMA, "loss.hash_reg.lambda_balance", "loss.hash_reg.lambda_decorr")
ALPHA_NOTE = (
    "With frozen towers and no projection the alignment term has no gradient, so alpha changes "
    "nothing: rows that differ in alpha alone are equal by construction and were run once. "
    "With align.projection=true alpha acts."
)
PRIOR, NORM = {"classifier.prior_init": True}, {"hash.batch_norm": True}


def _alpha_gamma() -> tuple[Row, ...]:
    return tuple(
        Row(f"alpha {alpha}, gamma {gamma}", {ALPHA: alpha, GAMMA: gamma})
        for alpha in (0.5, 1.0, 2.0)
        for gamma in (0.05, 0.1, 0.2)
    )


def _schedules() -> tuple[Row, ...]:
    """Rows of D1: at each code length the constant scale is what the others are compared with."""
    rows = []
    for bits in (16, 32, 64):
        constant = f"{bits} bits, constant"
        fixed = {"hash.bits": bits, "hash.schedule": "constant"}
        rows.append(Row(constant, fixed, baseline=constant))
        varied = [("linear", top) for top in (3.0, 8.0, 10.0, 12.0, 15.0, 50.0)]
        if bits == 64:
            varied += [("exponential", 10.0), ("step", 10.0)]
        for schedule, top in varied:
            settings = {"hash.bits": bits, "hash.schedule": schedule, "hash.scale_max": top}
            rows.append(Row(f"{bits} bits, {schedule} to {top:g}", settings, baseline=constant))
    return tuple(rows)


BITS = (16, 32, 64, 128, 256)
FUSIONS = ("hadamard_with_magnitude", "hadamard", "concat_direction", "concat")
FULL = "plan B: full"
STUDIES = (
    Study(
        "baselines",
        "No training, no hash, directions only, the full method",
        f"{FULL}, KNN",
        (
            Row(f"{FULL}, KNN", {}, "knn"),
            Row(f"{FULL}, classifier", {}, "classifier"),
            Row(f"{FULL}, hybrid", {}, "hybrid"),
            Row("plan A: directions only, KNN", {"model.name": "direction_only"}, "knn"),
            Row(
                "plan A: directions only, classifier",
                {"model.name": "direction_only"},
                "classifier",
            ),
            Row("MLP", {"model.name": "mlp"}, "classifier"),
            Row("zero-shot", {"model.name": "zeroshot"}, "zeroshot"),
        ),
        heads=(),
        also=("test.{head}.F1_micro", "test.{head}.P@5"),
        notes=(
            "Zero-shot sees the picture alone and trains nothing: it is the same for every seed.",
            f"{EXPECTED} plan B above plan A, and its KNN head near the MLP.",
        ),
        expected=(
            ("what the plan expected on MS-COCO (not measured)", "mAP", "F1_micro", "P@5"),
            ("zero-shot", ".32", ".28", ".41"),
            ("MLP", ".68", ".71", ".74"),
            ("plan A", ".66", ".69", ".72"),
            ("plan B", ".71", ".74", ".78"),
        ),
    ),
    Study(
        "A1",
        "Fusion of image and text vectors",
        FUSIONS[0],
        rows_of("{}", "fusion.type", FUSIONS),
        notes=("concat takes the raw embeddings, without the decomposition.",),
    ),
    Study(
        "A2",
        "Code length",
        "64 bits",
        (
            *(Row(f"{bits} bits", {"hash.bits": bits}) for bits in BITS),
            Row("no hash", {"hash.enabled": False}),
        ),
        also=(
            "codes.bit_imbalance",
            "codes.bit_correlation",
            "codes.quantisation_error",
            "codes.unique_share",
        ),
        notes=(
            "Without a hash layer the neighbours are those of z by cosine.",
            f"{EXPECTED} 128 bits to be slightly better than 64.",
        ),
        picture="codes",
    ),
    Study(
        "A3",
        "Head: neighbours' vote, classifier, or their mix",
        "knn",
        tuple(Row(head, {}, head) for head in ("knn", "classifier", "hybrid")),
        heads=(),
        also=(
            "test.{head}.P@5",
            "test.{head}.ECE",
            "test.{head}.F1_macro_global",
            "test.{head}.F1_macro_per_class",
            "test.{head}.F1_macro_global_rare",
            "test.{head}.F1_macro_per_class_rare",
        ),
        notes=(
            "The heads of one run: nothing is trained for this table alone.",
            "F1 with one decision threshold for all classes and with one a class, both from val; "
            "rare: the third of the classes with the fewest training images.",
        ),
    ),
    Study(
        "B1",
        "Towers: frozen, last two layers, all",
        "frozen",
        (
            Row("frozen", {"encoder.unfreeze": "none"}),
            Row("last 2 layers", {"encoder.unfreeze": "last_n", "encoder.last_n": 2}),
            Row("all", {"encoder.unfreeze": "all"}),
        ),
        common={"train.num_epochs": 10},
        notes=("Every row trains 10 epochs, the frozen one too: towers in training are slow.",),
    ),
    Study(
        "B2",
        "Weights of the loss terms",
        "defaults",
        (
            Row("defaults"),
            *_alpha_gamma(),
            *rows_of("lambda1 {:g}", "loss.hash_reg.lambda_balance", (0.0, 1.0)),
            *rows_of("lambda2 {:g}", "loss.hash_reg.lambda_decorr", (0.0, 3.0, 100.0)),
            Row("plan: gamma 0.1, lambda2 0.01", {k: PLAN_AS_WRITTEN[k] for k in HASH_TERM}),
            Row("BCE only", {ALPHA: 0.0, GAMMA: 0.0}),
            *(
                Row(f"projection, alpha {v}", {"align.projection": True, ALPHA: v})
                for v in (0.5, 1.0, 2.0)
            ),
        ),
        also=("val.knn.mAP", "val.classifier.mAP"),
        notes=(ALPHA_NOTE,),
    ),
    Study(
        "B3",
        "Patches a picture (NaFlex checkpoint)",
        "256 patches",
        rows_of("{} patches", "datasets.{dataset}.encoder.max_num_patches", (196, 256, 512, 1024)),
        common={"datasets.{dataset}.encoder.checkpoint": "{naflex}"},
    ),
    Study(
        "B4",
        "Class imbalance: classification loss",
        "none (BCE)",
        (
            Row("none (BCE)", {"loss.classification": "bce"}),
            Row("focal", {"loss.classification": "focal"}),
            Row("class weights", {"loss.classification": "class_balanced"}),
            Row("asymmetric", {"loss.classification": "asymmetric"}),
        ),
        also=("test.classifier.CF1", "test.classifier.OF1"),
    ),
    Study(
        "B5",
        "Learning rate and its schedule",
        "lr 0.0002, cosine",
        (
            *rows_of("lr {}, cosine", "train.lr", (0.0001, 0.0002, 0.0003, 0.001)),
            Row("lr 0.0002, constant", {"train.lr": 0.0002, "train.lr_schedule": "constant"}),
            Row("lr 0.0002, step", {"train.lr": 0.0002, "train.lr_schedule": "step"}),
        ),
        notes=("Each schedule begins with the same warm-up.",),
    ),
    Study(
        "C1",
        "Neighbours that vote (K)",
        "K 50",
        rows_of("K {}", "knn.k", (5, 10, 20, 50, 100, 500)),
        heads=("knn",),
    ),
    Study(
        "C2",
        "Distance of the neighbours",
        "hamming",
        rows_of("{}", "knn.distance", ("hamming", "cosine", "hybrid", "asymmetric")),
        heads=("knn",),
    ),
    Study(
        "C3",
        "Voting",
        "softmax",
        rows_of("{}", "knn.voting", ("softmax", "uniform", "rank", "threshold")),
        heads=("knn",),
    ),
    Study(
        "C4",
        "Temperature of softmax voting (tau)",
        "tau 0.07",
        rows_of("tau {}", "knn.tau", (0.03, 0.07, 0.15, 0.2)),
        heads=("knn",),
    ),
    Study(
        "D1",
        "Hash schedule and largest scale, by code length",
        "64 bits, constant",
        _schedules(),
        also=("codes.quantisation_error",),
        notes=("Rows are compared with the constant scale at their own code length.",),
        picture="h",
    ),
    Study(
        "E1",
        "Search cost: Hamming against cosine",
        "64 bits",
        tuple(Row(f"{bits} bits", {"hash.bits": bits}) for bits in BITS),
        heads=("knn",),
        seeds=1,
        notes=(f"{EXPECTED} Hamming to be 5 to 10 times faster than cosine.",),
        kind="cost",
    ),
    Study(
        "M1",
        "Inputs: image, caption, or both",
        "both",
        rows_of("{}", "model.inputs", ("both", "image", "caption")),
        notes=(
            'Captions describe the objects that are to be named: "both" and "caption" are not '
            "comparable with the image-only literature (mAP on MS-COCO, train2014 to val2014: "
            "SRN 77.1, ASL 86.6, Query2Label 91.3, ML-Decoder 91.4).",
        ),
    ),
    Study(
        "grid",
        "Bits x fusion, alpha x gamma, K x tau",
        "64 bits, hadamard_with_magnitude",
        (
            *(
                Row(f"{bits} bits, {fusion}", {"hash.bits": bits, "fusion.type": fusion})
                for bits in (32, 64, 128)
                for fusion in FUSIONS[:3]
            ),
            *_alpha_gamma(),
            *(
                Row(f"K {k}, tau {tau}", {"knn.k": k, "knn.tau": tau})
                for k in (10, 20, 50)
                for tau in (0.03, 0.07, 0.15)
            ),
        ),
        notes=(ALPHA_NOTE, "K and tau change the vote alone: these rows share one training."),
    ),
    Study(
        "plan",
        "The plan as written against the defaults",
        "plan as written",
        (
            Row("plan as written", PLAN_AS_WRITTEN),
            Row("with prior bias", {**PLAN_AS_WRITTEN, **PRIOR}),
            Row("with prior bias, BatchNorm", {**PLAN_AS_WRITTEN, **PRIOR, **NORM}),
            Row("with both and our hash term", {**PRIOR, **NORM, "knn.k": 20}),
            Row("defaults"),
        ),
        also=("val.knn.mAP", "val.classifier.mAP", "codes.unique_share", "codes.bit_correlation"),
    ),
    Study(
        "kfold",
        "Five folds over train, restval and val; test untouched",
        "Karpathy split",
        (
            Row("Karpathy split", {"split.protocol": "karpathy"}),
            *(
                Row(
                    f"fold {fold}",
                    {"split.protocol": "kfold", "split.folds": 5, "split.fold": fold},
                )
                for fold in range(5)
            ),
        ),
        seeds=1,
        notes=(
            "Mean over folds: the figures of the folds, and their standard deviation over folds.",
            "Fold ensemble: the test scores averaged over the folds.",
        ),
        kind="folds",
    ),
)
