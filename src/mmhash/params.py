"""The typed schema of ``params.yaml``: every key, its type and its range.

This module only validates. It is read by every stage and left out of the stages' dependencies, so
that a new key does not re-run the world; what a value does stands in the module that uses it.
"""

import re
import reprlib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, PlainValidator, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from mmhash.errors import InputError
from mmhash.method_params import (
    AboveZero,
    Agch,
    Align,
    Block,
    Classifier,
    Fraction,
    Fusion,
    Hash,
    Loss,
    NonNegative,
    Positive,
    Shallow,
    Ucmfh,
)

Seed = Annotated[int, Field(ge=0, lt=2**63)]


def _positive_or_auto(value: Any) -> Any:
    if value == "auto" or (type(value) is int and value >= 1):
        return value
    raise ValueError(f"{value!r} must be auto or a whole number from 1")


# Methods with a classifier, in whose training the towers may take part.
TAGGERS = ("full", "direction_only", "mlp")
CROSS_MODAL = ("agch", "ucmfh", "shallow")

# Of one piece: the branches of a union would each complain, under keys that nobody has written.
PositiveOrAuto = Annotated[int | Literal["auto"], PlainValidator(_positive_or_auto)]


class Run(Block):
    """The two one-word switches."""

    dataset: Literal["sample", "coco2014", "features", "wiki", "mirflickr25k", "nuswide"]
    hardware: Literal["auto", "cpu", "rtx5080_16gb", "emergency"]


class EncoderSource(Block):
    """Which checkpoint encodes a dataset."""

    checkpoint: Annotated[str, Field(min_length=1)]
    revision: str | None
    max_num_patches: Positive | None


class Dataset(Block):
    """Where a dataset lies."""

    root: Annotated[str, Field(min_length=1)]
    download: bool
    strict_counts: bool
    encoder: EncoderSource | None


class Datasets(Block):
    """One block a dataset that ``run.dataset`` can name."""

    sample: Dataset
    coco2014: Dataset
    features: Dataset
    wiki: Dataset
    mirflickr25k: Dataset
    nuswide: Dataset


class Hardware(Block):
    """What cannot change a result beyond rounding."""

    device: Literal["auto", "cpu", "cuda"]
    processes: Positive
    precision: Literal["auto", "float32", "bfloat16", "float16"]
    num_workers: Annotated[int, Field(ge=0)]
    prefetch_factor: Positive
    pin_memory: bool
    extract_batch: PositiveOrAuto
    compile: bool
    gradient_checkpointing: bool
    vram_alert_gb: AboveZero | None


class HardwareProfiles(Block):
    """One block a machine that ``run.hardware`` can name."""

    auto: Hardware
    cpu: Hardware
    rtx5080_16gb: Hardware
    emergency: Hardware


class Split(Block):
    """How images are divided."""

    protocol: Literal["karpathy", "kfold"]
    folds: Annotated[int, Field(ge=2)]
    fold: Annotated[int, Field(ge=0)]
    seed: Seed

    @model_validator(mode="after")
    def _fold_exists(self) -> "Split":
        if self.fold >= self.folds:
            raise ValueError(f"fold = {self.fold} must be below folds = {self.folds}")
        return self


class Features(Block):
    """How vectors are extracted and stored."""

    dtype: Literal["float16", "float32"]
    on_bad_image: Literal["error", "skip"]
    normalise: bool


class ZeroShot(Block):
    """How class names become texts."""

    prompts: Annotated[list[str], Field(min_length=1)]

    @model_validator(mode="after")
    def _prompts_have_a_slot(self) -> "ZeroShot":
        for prompt in self.prompts:
            if prompt.count("{}") != 1:
                raise ValueError(f"prompt {prompt!r} must contain {{}} once, for the class name")
        return self


class Encoder(Block):
    """Which part of the towers learns."""

    unfreeze: Literal["none", "last_n", "all"]
    last_n: Positive


class Model(Block):
    """Which method."""

    name: Literal["full", "direction_only", "mlp", "zeroshot", "agch", "ucmfh", "shallow"]
    inputs: Literal["both", "image", "caption"]


class Train(Block):
    """The optimiser and its schedule."""

    batch_size: Annotated[int, Field(ge=2)]
    gradient_accumulation_steps: Positive
    amp: bool
    amp_dtype: Literal["float16", "bfloat16"]
    num_epochs: Positive
    lr: AboveZero
    lr_towers: AboveZero
    lr_schedule: Literal["cosine", "constant", "step"]
    weight_decay: NonNegative
    warmup_ratio: Fraction
    min_lr: NonNegative
    gradient_clip_norm: AboveZero
    early_stopping_patience: Positive
    seed: Seed
    deterministic: bool
    on_oom: Literal["stop", "halve"]
    log_every: Positive
    log_gradient_norms: bool

    @model_validator(mode="after")
    def _cosine_falls(self) -> "Train":
        if self.min_lr > self.lr:
            raise ValueError(f"min_lr = {self.min_lr} must not be above lr = {self.lr}")
        return self


class Index(Block):
    """The database side."""

    kind: Literal["flat", "ivf", "hnsw", "multihash"]
    captions: Literal["first", "all", "mean"]


class Knn(Block):
    """The vote."""

    k: Positive
    distance: Literal["hamming", "cosine", "hybrid", "asymmetric"]
    voting: Literal["softmax", "uniform", "rank", "threshold"]
    tau: AboveZero
    threshold: Fraction
    rerank: Positive
    ties: Literal["expected", "row_id"]
    head: Literal["knn", "classifier", "hybrid"]
    top_n_tags: Positive

    @model_validator(mode="after")
    def _candidates_suffice(self) -> "Knn":
        if self.distance == "hybrid" and self.rerank < self.k:
            raise ValueError(f"rerank = {self.rerank} must be at least k = {self.k}")
        return self


class Evaluate(Block):
    """Thresholds and intervals."""

    thresholds: Literal["global", "per_class"]
    bootstrap_samples: Annotated[int, Field(ge=100)]
    bootstrap_seed: Seed
    across: Literal["auto", "always"]


class Tracking(Block):
    """Where the training curves go besides DVCLive."""

    tensorboard: bool
    wandb: bool


class Plots(Block):
    """Looks."""

    dpi: Annotated[int, Field(ge=30, le=600)]


class Params(Block):
    """The whole file."""

    run: Run
    datasets: Datasets
    hardware: HardwareProfiles
    split: Split
    features: Features
    zeroshot: ZeroShot
    encoder: Encoder
    model: Model
    fusion: Fusion
    hash: Hash
    classifier: Classifier
    align: Align
    loss: Loss
    train: Train
    agch: Agch
    ucmfh: Ucmfh
    shallow: Shallow
    index: Index
    knn: Knn
    evaluate: Evaluate
    tracking: Tracking
    plots: Plots

    @model_validator(mode="after")
    def _images_need_an_encoder(self) -> "Params":
        for name in ("sample", "coco2014"):
            if getattr(self.datasets, name).encoder is None:
                raise ValueError(f"datasets.{name}.encoder is null; pictures need a checkpoint")
        return self

    @model_validator(mode="after")
    def _unfreezing_needs_towers(self) -> "Params":
        if self.encoder.unfreeze == "none":
            return self
        if self.dataset.encoder is None:
            raise ValueError(
                f"encoder.unfreeze = {self.encoder.unfreeze} needs towers, and dataset "
                f"{self.run.dataset} has none; set encoder.unfreeze=none"
            )
        if self.model.name not in TAGGERS:
            raise ValueError(
                f"encoder.unfreeze: towers cannot learn with model.name = {self.model.name}; set "
                "it none"
            )
        return self

    @model_validator(mode="after")
    def _head_exists(self) -> "Params":
        if self.model.name not in TAGGERS and self.knn.head != "knn":
            raise ValueError(
                f"knn.head = {self.knn.head} needs a trained classifier, and model.name = "
                f"{self.model.name} has none; set knn.head=knn"
            )
        return self

    @model_validator(mode="after")
    def _codes_are_there(self) -> "Params":
        name, shallow = self.model.name, self.shallow.method
        real = not self.hash.enabled or name in ("mlp", "zeroshot")
        if self.index.kind != "flat" and (real or (name, shallow) == ("shallow", "cca")):
            raise ValueError(
                f"index.kind = {self.index.kind} indexes binary codes, which model.name = {name} "
                f"with hash.enabled = {str(self.hash.enabled).lower()} does not give; set "
                "index.kind=flat"
            )
        return self

    @model_validator(mode="after")
    def _settings_count(self) -> "Params":
        if self.features.normalise and self.dataset.encoder is None:
            raise ValueError(
                f"features.normalise = true does nothing with run.dataset = {self.run.dataset}, "
                "whose features came ready made; set it false"
            )
        if self.model.name not in CROSS_MODAL:
            return self
        shallow = self.model.name == "shallow"
        for key, value, counts in (
            ("model.inputs", self.model.inputs, "both"),
            ("hash.enabled", self.hash.enabled, True),
            *([("loss.pairwise_weight", self.loss.pairwise_weight, 0.0)] if shallow else []),
            *([("hash.schedule", self.hash.schedule, "constant")] if shallow else []),
        ):
            if value != counts:
                raise ValueError(
                    f"{key} = {value} does nothing with model.name = {self.model.name}; set "
                    f"{key}={str(counts).lower()}"
                )
        return self

    @property
    def dataset(self) -> Dataset:
        """The block of ``datasets`` that ``run.dataset`` names."""
        return getattr(self.datasets, self.run.dataset)

    @property
    def profile(self) -> Hardware:
        """The block of ``hardware`` that ``run.hardware`` names."""
        return getattr(self.hardware, self.run.hardware)


def _one_line(path: Path | str, error: ValidationError) -> str:
    """Return the first problem as "file: key = value: what is allowed" and count the others."""
    problems = error.errors(include_url=False)
    # An unknown key explains a missing one (a typing mistake gives both), so it goes first.
    problems.sort(key=lambda problem: problem["type"] != "extra_forbidden")
    first = problems[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        allowed = ", ".join(_keys_beside(first["loc"]))
        text = f"unknown key {key} = {reprlib.repr(first['input'])}; allowed there: {allowed}"
    elif first["type"] == "missing":
        text = f"missing key {key}"
    elif first["type"] == "value_error":
        text = f"{key + ': ' if key else ''}{first['ctx']['error']}"
    else:
        allowed = re.sub("^(Input|List|String) should", "must", first["msg"])
        allowed = allowed.replace(" after validation", "").replace(
            "a valid boolean", "true or false"
        )
        text = f"{key} = {first['input']!r}: {allowed}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{path}: {text}{more}"


def _keys_beside(path: tuple[int | str, ...]) -> list[str]:
    """Return the keys of the block that the last key of ``path`` stands in."""
    block: type[Block] = Params
    for name in path[:-1]:
        kind = block.model_fields[str(name)].annotation
        parts = (kind, *get_args(kind))  # a block, or a block that may be null
        block = next(part for part in parts if isinstance(part, type) and issubclass(part, Block))
    return list(block.model_fields)


def parse_params(values: Any, source: Path | str = "params.yaml") -> Params:
    """Validate plain values; raises :class:`InputError` naming key, value and what is allowed."""
    if not isinstance(values, dict):
        raise InputError(f"{source}: must be a mapping of blocks (run, datasets, hash, ...)")
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise InputError(_one_line(source, error)) from None


def load_params(path: Path | str = "params.yaml") -> Params:
    """Read and validate ``params.yaml``.

    The file is parsed as YAML 1.2, as DVC does, so ``2e-4`` is a number for both. Raises
    :class:`InputError` in one line for a missing file, a syntax error, an unknown key, a wrong
    type or a value out of range.
    """
    try:
        values = YAML(typ="safe", pure=True).load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run from the repository's root") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid YAML: {error}") from None
    return parse_params(values, path)
