"""The blocks of ``params.yaml`` that describe a method: architecture and loss, or the whole of it.

Like :mod:`mmhash.params` this only validates. A value that may be empty (None) is then the
published one for the dataset at hand; the method's own module says which.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[int, Field(ge=1)]
NonNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
AboveZero = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
BatchSize = Annotated[int, Field(ge=2)]
Milestones = list[Positive]


class Block(BaseModel):
    """A block of ``params.yaml``: unknown keys and wrong types are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Fusion(Block):
    """How image and text vectors meet."""

    type: Literal["concat", "concat_direction", "hadamard", "hadamard_with_magnitude"]
    mlp_dims: Annotated[list[Positive], Field(min_length=1)]
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)]
    activation: Literal["relu", "gelu"]
    dim: Positive | None


class Hash(Block):
    """The hash layer."""

    enabled: bool
    bits: Literal[16, 32, 64, 128, 256]
    batch_norm: bool
    schedule: Literal["constant", "linear", "exponential", "step"]
    scale_min: AboveZero
    scale_max: AboveZero


class Classifier(Block):
    """The linear head."""

    prior_init: bool
    use_bias: bool

    @model_validator(mode="after")
    def _prior_needs_a_bias(self) -> "Classifier":
        if self.prior_init and not self.use_bias:
            raise ValueError("prior_init needs use_bias: true (the prior is written to the bias)")
        return self


class Align(Block):
    """What gives the alignment term a gradient while the towers are frozen."""

    projection: bool


class HashRegularisation(Block):
    """Weights inside the hash term."""

    lambda_balance: NonNegative
    lambda_decorr: NonNegative


class Loss(Block):
    """The weights of the loss terms."""

    classification: Literal["bce", "focal", "class_balanced", "asymmetric"]
    bce_weight: NonNegative
    cosine_weight: NonNegative
    hash_weight: NonNegative
    hash_reg: HashRegularisation
    focal_alpha: Fraction
    focal_gamma: NonNegative
    pairwise_weight: NonNegative


class AgchCures(Block):
    """What an earlier implementation needed against collapse; the paper has none of it."""

    text_batch_norm: bool
    leaky_relu: bool
    first_layer_gain: AboveZero
    direct_alignment: NonNegative
    quantisation: NonNegative
    balance: NonNegative
    l3_weight: NonNegative


class Agch(Block):
    """Aggregation-based graph convolutional hashing (Zhang et al., IEEE TMM 24, 2022)."""

    batch_size: BatchSize
    num_epochs: Positive | None
    alpha: NonNegative | None
    beta: NonNegative | None
    lambda_h: NonNegative | None
    delta: NonNegative
    gamma_v: AboveZero | None
    gamma_t: AboveZero | None
    rho: AboveZero
    hidden: Positive
    graph_dims: Annotated[list[Positive], Field(min_length=1, max_length=3)]
    similarity: Literal["product", "cosine", "euclid", "sum"]
    distance: Literal["plain", "root"]
    second_normalisation: bool
    text_normalisation: bool
    positive_mapping: bool
    graph: bool
    graph_input: Literal["similarity", "rescaled"]
    graph_features: Literal["hidden", "codes"]
    graph_residual: bool
    fusion: bool
    step: Literal["joint", "alternating"]
    optimizer: Literal["sgd", "adam"]
    lr_image: AboveZero
    lr_text: AboveZero
    lr_graph: AboveZero
    lr_fusion: AboveZero
    lr_adam: AboveZero
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)]
    weight_decay: NonNegative
    milestones: Milestones
    milestone_factor: AboveZero
    cures: AgchCures


class Ucmfh(Block):
    """Unsupervised contrastive multi-modal fusion hashing (Xia et al., Information Fusion 2023)."""

    batch_size: BatchSize
    num_epochs: Positive | None
    train_rows: Positive | None
    attention: Literal["batch", "sample"]
    query: Literal["both", "single"]
    layers: Positive
    heads: Positive
    temperature: AboveZero
    hidden: Annotated[int, Field(ge=0)]
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)]
    code_weight: NonNegative
    lr_fusion: AboveZero
    lr_codes: AboveZero
    milestones: Milestones | None
    milestone_factor: AboveZero | None


class Shallow(Block):
    """Methods with a closed form or a few alternating least squares, no network."""

    method: Literal["cca", "cca_itq", "random_hyperplanes", "cmfh", "scm"]
    ridge: AboveZero
    itq_iterations: Positive
    cmfh_image_weight: Annotated[float, Field(gt=0.0, lt=1.0)]
    cmfh_mu: AboveZero
    cmfh_gamma: AboveZero
    cmfh_iterations: Positive
