"""The architecture of a tagger as plain values, to and from ``model/config.json``."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from mmhash.errors import InputError

FusionType = Literal["concat", "concat_direction", "hadamard", "hadamard_with_magnitude"]
Schedule = Literal["constant", "linear", "exponential", "step"]
ModelName = Literal["full", "direction_only", "mlp", "zeroshot"]
Inputs = Literal["both", "image", "caption"]


@dataclass(frozen=True)
class FusionConfig:
    """How image and text vectors meet; ``dim`` is the width of their product (None: as given)."""

    type: FusionType = "hadamard_with_magnitude"
    mlp_dims: tuple[int, ...] = (1024, 512)
    dropout: float = 0.1
    activation: Literal["relu", "gelu"] = "relu"
    dim: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "mlp_dims", tuple(self.mlp_dims))  # JSON and YAML give lists
        if self.type not in get_args(FusionType):
            raise InputError(
                f"fusion.type = {self.type!r}: must be one of {', '.join(get_args(FusionType))}"
            )
        if not self.mlp_dims:
            raise InputError("fusion.mlp_dims is empty: name at least one width, such as [512]")


@dataclass(frozen=True)
class HashConfig:
    """The hash layer and the schedule of its scale β."""

    enabled: bool = True
    bits: int = 64
    batch_norm: bool = True
    schedule: Schedule = "linear"
    scale_min: float = 1.0
    scale_max: float = 10.0

    def __post_init__(self) -> None:
        if self.enabled and (self.bits < 8 or self.bits % 8):
            raise InputError(f"hash.bits = {self.bits}: must be a multiple of 8 (codes are bytes)")


@dataclass(frozen=True)
class ClassifierConfig:
    """The linear head."""

    prior_init: bool = True
    use_bias: bool = True

    def __post_init__(self) -> None:
        if self.prior_init and not self.use_bias:
            raise InputError(
                "classifier.prior_init writes the prior to the bias: it needs classifier.use_bias"
            )


@dataclass(frozen=True)
class AlignConfig:
    """Whether the directions pass a learned projection before they meet."""

    projection: bool = False


@dataclass(frozen=True)
class ModelConfig:
    """All that determines the shape of a tagger.

    ``full`` is the main method, ``direction_only`` the same on [d_img ; d_txt]. ``mlp`` is the
    baseline [v_img ; v_txt] → MLP → C classes: it stands for ``concat`` without hash and
    alignment. The settings are replaced accordingly, so that what is saved says what was built.
    ``zeroshot`` has nothing to build: neighbours are those of the image vector. ``inputs`` names
    the modalities that the tagger sees.
    """

    name: ModelName
    image_dim: int
    text_dim: int
    num_classes: int
    fusion: FusionConfig
    hash: HashConfig
    classifier: ClassifierConfig
    align: AlignConfig
    inputs: Inputs = "both"

    def __post_init__(self) -> None:
        for key, value, allowed in (
            ("name", self.name, get_args(ModelName)),
            ("inputs", self.inputs, get_args(Inputs)),
        ):
            if value not in allowed:
                raise InputError(f"model.{key} = {value!r}: must be one of {', '.join(allowed)}")
        if min(self.image_dim, self.text_dim, self.num_classes) < 1:
            raise InputError(
                f"model: image width {self.image_dim}, text width {self.text_dim} and "
                f"{self.num_classes} classes must all be at least 1"
            )
        if self.name == "direction_only":
            object.__setattr__(self, "fusion", replace(self.fusion, type="concat_direction"))
        if self.name == "mlp":
            object.__setattr__(self, "fusion", replace(self.fusion, type="concat"))
            object.__setattr__(self, "hash", replace(self.hash, enabled=False))
            object.__setattr__(self, "align", replace(self.align, projection=False))

    @property
    def two_directions(self) -> bool:
        """Whether the model takes the directions of image and text, which L_cos compares."""
        return self.name in ("full", "direction_only") and self.inputs == "both"

    @property
    def aligned(self) -> bool:
        """Whether these directions lie in one space, so that L_cos is defined."""
        return self.two_directions and (self.image_dim == self.text_dim or self.align.projection)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can write."""
        values = asdict(self)
        values["fusion"]["mlp_dims"] = list(self.fusion.mlp_dims)
        return values

    @classmethod
    def from_dict(cls, values: Any, source: str = "model/config.json") -> "ModelConfig":
        """Return the configuration that :meth:`to_dict` wrote; InputError for other keys."""
        blocks = {
            "fusion": FusionConfig,
            "hash": HashConfig,
            "classifier": ClassifierConfig,
            "align": AlignConfig,
        }
        _check_keys(cls, values, "model", source)
        built = dict(values)
        for name, block in blocks.items():
            _check_keys(block, values[name], f"model.{name}", source)
            built[name] = block(**values[name])
        try:
            return cls(**built)
        except TypeError as error:
            raise InputError(f"{source}: model has a value of the wrong type ({error})") from None


def _check_keys(block: type, values: Any, where: str, source: str) -> None:
    """Raise InputError unless ``values`` is a mapping with exactly the fields of ``block``."""
    if not isinstance(values, dict):
        raise InputError(f"{source}: {where} must be a mapping of settings")
    expected = {field.name for field in fields(block)}
    for key in sorted(expected - values.keys()):
        raise InputError(f"{source}: missing key {where}.{key}; train again with this version")
    for key in sorted(values.keys() - expected):
        raise InputError(f"{source}: unknown key {where}.{key}; train again with this version")
