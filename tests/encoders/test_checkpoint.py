import json
import logging
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.overrides import TorchFunctionMode
from transformers import Siglip2Model, SiglipModel, masking_utils
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

from mmhash.encoders import checkpoint
from mmhash.encoders.checkpoint import Towers, find_checkpoint, fingerprint, load_checkpoint
from mmhash.encoders.pixels import decode
from mmhash.errors import InputError

CPU = torch.device("cpu")


def plain_image_features(folder: Path, kind: str, pictures: list[Path]) -> torch.Tensor:
    """Pooled vision output the plain Hugging Face way: processor and model in float32."""
    model = (SiglipModel if kind == "fixed" else Siglip2Model).from_pretrained(folder).eval()
    processor = {"fixed": SiglipImageProcessorPil, "naflex": Siglip2ImageProcessorPil}[kind]
    inputs = processor.from_pretrained(folder)([str(p) for p in pictures], return_tensors="pt")
    with torch.no_grad():
        return model.get_image_features(**inputs).pooler_output


def copy_of(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "checkpoint"))


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_class_is_taken_from_the_config(towers: Towers) -> None:
    expected = {"fixed": ("siglip", SiglipModel), "naflex": ("siglip2", Siglip2Model)}
    model_type, cls = expected[towers.kind]
    assert towers.model_type == model_type
    assert type(towers.model) is cls
    assert towers.width_image == towers.width_text == 32
    assert towers.token_length == 64
    assert (towers.logit_scale, towers.logit_bias) == pytest.approx((2.0, -1.5))


def test_siglip2_class_never_loads_a_fixed_checkpoint(
    fixed_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(checkpoint._CLASSES, "siglip", Siglip2Model)
    with pytest.raises(InputError, match="do not fit"):
        load_checkpoint(str(fixed_folder), None, CPU)


def test_image_features_equal_the_plain_path(
    folder: Path, towers: Towers, pictures: list[Path]
) -> None:
    ours = towers.encode_images(decode(pictures, towers.pixels)[0])
    reference = plain_image_features(folder, towers.kind, pictures)
    assert ours.dtype == torch.float32
    assert torch.cosine_similarity(ours, reference).min() >= 0.9999
    assert (ours - reference).abs().max() < 1e-5


def test_bfloat16_stays_close_to_float32(
    folder: Path, towers: Towers, pictures: list[Path]
) -> None:
    low = load_checkpoint(str(folder), None, CPU, precision=torch.bfloat16)
    batch, _ = decode(pictures, towers.pixels)
    texts = ["a dog on a bench.", "Two cats"]
    for ours, reference in (
        (low.encode_images(batch), towers.encode_images(batch)),
        (low.encode_texts(texts), towers.encode_texts(texts)),
    ):
        assert ours.dtype == torch.float32
        assert not torch.equal(ours, reference)  # the low precision is really used
        assert torch.cosine_similarity(ours, reference).min() >= 0.999


def test_rounding_the_matrices_once_equals_autocast(
    folder: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    once = load_checkpoint(str(folder), None, CPU, precision=torch.bfloat16)
    monkeypatch.setattr(checkpoint, "_store_products", lambda model, precision: None)
    each_time = load_checkpoint(str(folder), None, CPU, precision=torch.bfloat16)
    batch, _ = decode(pictures, once.pixels)
    assert torch.equal(once.encode_images(batch), each_time.encode_images(batch))


def test_features_are_not_normalised(towers: Towers, pictures: list[Path]) -> None:
    images = towers.encode_images(decode(pictures, towers.pixels)[0])
    texts = towers.encode_texts(["a dog", "two cats on a bench", "sky"])
    for vectors in (images, texts):
        norms = vectors.norm(dim=1)
        assert norms.std() > 1e-3  # a constant norm is the sign of image_embeds / text_embeds
        assert (norms - 1).abs().min() > 1e-3


def test_naflex_max_num_patches_can_be_chosen(naflex_folder: Path, pictures: list[Path]) -> None:
    wide = load_checkpoint(str(naflex_folder), None, CPU, 40)
    assert wide.pixels.max_num_patches == 40
    assert decode(pictures[:1], wide.pixels)[0].pixels.shape == (1, 40, 192)
    assert load_checkpoint(str(naflex_folder), None, CPU).pixels.max_num_patches == 24


def test_max_num_patches_is_refused_for_a_fixed_checkpoint(fixed_folder: Path) -> None:
    with pytest.raises(InputError, match="fixed resolution"):
        load_checkpoint(str(fixed_folder), None, CPU, 256)


def test_towers_are_frozen(towers: Towers) -> None:
    assert not towers.model.training
    assert not any(parameter.requires_grad for parameter in towers.model.parameters())


def test_nested_processor_config_is_read(fixed_folder: Path, tmp_path: Path) -> None:
    folder = copy_of(fixed_folder, tmp_path)
    image_processor = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": image_processor}))
    assert load_checkpoint(str(folder), None, CPU).pixels.mean == (0.5, 0.45, 0.4)


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json"]
)
def test_missing_file_is_named(fixed_folder: Path, tmp_path: Path, name: str) -> None:
    folder = copy_of(fixed_folder, tmp_path)
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"no {name}") as error:
        load_checkpoint(str(folder), None, CPU)
    assert "\n" not in str(error.value)


def test_pickled_weights_are_never_read(
    fixed_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_of(fixed_folder, tmp_path)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    monkeypatch.setattr(torch, "load", lambda *a, **k: pytest.fail("unpickled"))
    with pytest.raises(InputError, match="pickled"):
        load_checkpoint(str(folder), None, CPU)


def test_unknown_model_type_is_an_input_error(fixed_folder: Path, tmp_path: Path) -> None:
    folder = copy_of(fixed_folder, tmp_path)
    edit_json(folder / "config.json", model_type="clip")
    with pytest.raises(InputError, match="'clip'"):
        load_checkpoint(str(folder), None, CPU)


def test_missing_weights_are_an_error_and_not_random(fixed_folder: Path, tmp_path: Path) -> None:
    folder = copy_of(fixed_folder, tmp_path)
    weights = load_file(folder / "model.safetensors")
    del weights["text_model.head.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lacks 1 tensors \(text_model.head.weight\)"):
        load_checkpoint(str(folder), None, CPU)


def test_surplus_weights_are_an_error(fixed_folder: Path, tmp_path: Path) -> None:
    # A config with fewer layers than the file would otherwise give a shallower model in silence.
    folder = copy_of(fixed_folder, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"]["num_hidden_layers"] = 1
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="has besides"):
        load_checkpoint(str(folder), None, CPU)


def test_saved_position_ids_are_no_surplus(fixed_folder: Path, tmp_path: Path) -> None:
    folder = copy_of(fixed_folder, tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights["text_model.embeddings.position_ids"] = torch.arange(64)[None]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert load_checkpoint(str(folder), None, CPU).width_image == 32


def test_misshapen_and_damaged_weights_are_input_errors(fixed_folder: Path, tmp_path: Path) -> None:
    folder = copy_of(fixed_folder, tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights["text_model.head.weight"] = torch.zeros(3, 3)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="do not fit") as error:
        load_checkpoint(str(folder), None, CPU)
    assert "\n" not in str(error.value)
    whole = (fixed_folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"model\.safetensors"):
        load_checkpoint(str(folder), None, CPU)


def test_broken_tokenizer_is_an_input_error(fixed_folder: Path, tmp_path: Path) -> None:
    folder = copy_of(fixed_folder, tmp_path)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="tokenizer"):
        load_checkpoint(str(folder), None, CPU)


@pytest.mark.parametrize("name", ["google/siglip2-base-patch16-256", "no/such/folder", "./absent"])
def test_unreachable_checkpoint_says_what_to_do(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="give its folder") as error:
        load_checkpoint(name, None, CPU)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_hub_checkpoint_is_pinned_by_its_commit(
    fixed_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = Path(shutil.copytree(fixed_folder, tmp_path / commit))
    asked = []

    def download(name: str, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((name, revision))
        assert not any("bin" in pattern or "*.py" in pattern for pattern in allow_patterns)
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with caplog.at_level(logging.WARNING, logger="mmhash"):
        assert find_checkpoint("someone/towers", commit) == (snapshot, commit)
        assert not caplog.records
        towers = load_checkpoint("someone/towers", None, CPU)
    assert towers.revision == commit
    assert commit in caplog.text
    assert asked == [("someone/towers", commit), ("someone/towers", None)]


def test_revision_of_a_folder_is_refused(fixed_folder: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        load_checkpoint(str(fixed_folder), "main", CPU)


def test_fingerprint_follows_the_bytes(fixed_folder: Path, tmp_path: Path) -> None:
    folder = copy_of(fixed_folder, tmp_path)
    assert fingerprint(folder) == fingerprint(fixed_folder)
    (folder / "README.md").write_text("not part of it")
    assert fingerprint(folder) == fingerprint(fixed_folder)
    edit_json(folder / "preprocessor_config.json", resample=3)
    assert fingerprint(folder) != fingerprint(fixed_folder)


def test_compile_wraps_both_towers(fixed_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    options: list[dict[str, bool]] = []

    def compile_(self: torch.nn.Module, **asked: dict[str, bool]) -> None:
        compiled.append(type(self).__name__)
        options.append(asked["options"])

    monkeypatch.setattr(torch.nn.Module, "compile", compile_)
    load_checkpoint(str(fixed_folder), None, CPU, compile_towers=True)
    assert compiled == ["SiglipVisionModel", "SiglipTextModel"]
    # kernels by rule, not by a measurement: the same vectors each time
    assert options == [{"deterministic": True}] * 2
    torch._TorchCompileInductorWrapper(None, options[0], False)  # refuses unknown names


def test_compiled_towers_agree_with_plain_ones(
    folder: Path,
    towers: Towers,
    pictures: list[Path],
    device: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch._dynamo.reset()
    if device == "cpu":  # traced as ever, then run as they are: no C++ compiler
        compile_ = torch.nn.Module.compile

        def eagerly(self: torch.nn.Module, **_: object) -> None:
            compile_(self, backend=eager)

        monkeypatch.setattr(torch.nn.Module, "compile", eagerly)
    graphs: list[torch.fx.GraphModule] = []

    def eager(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    place = torch.device(device)
    compiled = load_checkpoint(str(folder), None, place, compile_towers=True)
    batch, _ = decode(pictures, towers.pixels)
    texts = ["a dog", "Two cats", "the sky, blue"]
    for rows in (3, 2):  # the last batch of a data set is smaller
        found = compiled.encode_images(batch.rows(0, rows)).cpu()
        expected = towers.encode_images(batch.rows(0, rows))
        assert torch.cosine_similarity(found, expected).min() >= 0.9999
        found = compiled.encode_texts(texts[:rows]).cpu()
        assert torch.cosine_similarity(found, towers.encode_texts(texts[:rows])).min() >= 0.9999
    assert bool(graphs) == (device == "cpu")


def test_float32_on_cuda_is_float32_in_the_convolution_too(fixed_folder: Path) -> None:
    before = torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = True  # PyTorch's default; of other products it is False
        load_checkpoint(str(fixed_folder), None, CPU)
        assert not torch.backends.cudnn.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.backends.cudnn.allow_tf32 = before


class Waits(TorchFunctionMode):
    """Names what would wait for a device: copies to it that are not said to be non_blocking."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        if isinstance(result, torch.Tensor) and result.device.type == "meta":
            from_cpu = function is torch.Tensor.to and args[0].device == CPU
            if function is torch.tensor or (from_cpu and not kwargs.get("non_blocking")):
                self.found.append(torch.overrides.resolve_name(function) or str(function))
        return result


def test_towers_do_not_wait_for_their_device(
    folder: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device "meta" stands for a GPU: its tensors have no values, so nothing can wait."""
    monkeypatch.setattr(Towers, "_autocast", lambda self: nullcontext())
    # transformers looks whether a naflex batch is without pads, the one wait that remains
    monkeypatch.setattr(masking_utils, "_ignore_bidirectional_mask_sdpa", lambda *_, **__: False)
    towers = load_checkpoint(str(folder), None, CPU)
    batch, _ = decode(pictures, towers.pixels)
    towers = replace(towers, model=towers.model.to("meta"), device=torch.device("meta"))
    with Waits() as waits:
        assert towers.image_vectors(batch).device.type == "meta"
        assert towers.text_vectors(["a dog"]).device.type == "meta"
    assert waits.found == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", ["images", "texts"])
def test_towers_do_not_wait_for_the_gpu(fixed_folder: Path, pictures: list[Path], kind) -> None:
    towers = load_checkpoint(str(fixed_folder), None, torch.device("cuda"))
    batch, _ = decode(pictures, towers.pixels)
    encode = {
        "images": lambda: towers.encode_images(batch),
        "texts": lambda: towers.encode_texts(["a dog"]),
    }[kind]
    encode()  # the first pass loads kernels and libraries
    torch.cuda.set_sync_debug_mode("error")
    try:
        encode()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16, torch.float16])
def test_cuda_agrees_with_the_cpu(
    folder: Path, towers: Towers, pictures: list[Path], precision: torch.dtype
) -> None:
    device = torch.device("cuda")
    cuda = load_checkpoint(str(folder), None, device, precision=precision)
    batch, _ = decode(pictures, towers.pixels)
    bound = 0.9999 if precision == torch.float32 else 0.999
    images = cuda.encode_images(batch)
    texts = cuda.encode_texts(["a dog", "Two cats"])
    assert images.device.type == texts.device.type == "cuda"
    assert torch.cosine_similarity(images.cpu(), towers.encode_images(batch)).min() >= bound
    reference = towers.encode_texts(["a dog", "Two cats"])
    assert torch.cosine_similarity(texts.cpu(), reference).min() >= bound
