import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2 import image_processing_pil_siglip2 as hf_siglip2

from mmhash.encoders import pixels
from mmhash.encoders.checkpoint import Towers, load_checkpoint
from mmhash.encoders.pixels import decode, patch_grid, tower_inputs
from mmhash.errors import InputError


def reference_inputs(folder: Path, kind: str, paths: list[Path]) -> dict[str, torch.Tensor]:
    """What the Hugging Face processor (Pillow backend) makes of the files."""
    processors = {"fixed": SiglipImageProcessorPil, "naflex": hf_siglip2.Siglip2ImageProcessorPil}
    processor = processors[kind].from_pretrained(folder)
    return dict(processor([str(path) for path in paths], return_tensors="pt"))


def test_pixels_equal_those_of_the_hugging_face_processor(
    folder: Path, towers: Towers, pictures: list[Path]
) -> None:
    reference = reference_inputs(folder, towers.kind, pictures)
    batch, bad = decode(pictures, towers.pixels)
    ours = tower_inputs(batch, towers.pixels)
    assert not bad
    assert ours.keys() == reference.keys()
    for name in ours:
        assert ours[name].shape == reference[name].shape
        assert ours[name].dtype == reference[name].dtype
    # The bound is 1/255 of the range of a picture; normalising stretches it by 1 / std.
    step = 1 / 255 / min(towers.pixels.std)
    difference = (ours["pixel_values"] - reference["pixel_values"]).abs().max()
    assert difference <= step
    assert difference < 1e-6  # in fact the same to float rounding
    for name in ours.keys() - {"pixel_values"}:
        assert torch.equal(ours[name], reference[name])


def test_bytes_leave_the_worker(towers: Towers, pictures: list[Path]) -> None:
    batch, _ = decode(pictures[:2], towers.pixels)
    assert batch.pixels.dtype == torch.uint8


@settings(max_examples=150)
@given(
    height=st.integers(1, 3000),
    width=st.integers(1, 3000),
    patch_size=st.sampled_from([8, 14, 16]),
    patches=st.sampled_from([1, 24, 196, 256, 512, 1024]),
)
def test_patch_grid_is_the_published_one(
    height: int, width: int, patch_size: int, patches: int
) -> None:
    high, wide = patch_grid(height, width, patch_size, patches)
    reference = hf_siglip2.get_image_size_for_max_num_patches(height, width, patch_size, patches)
    assert (high * patch_size, wide * patch_size) == reference
    assert high * wide <= patches or min(high, wide) == 1


def test_decode_reports_bad_pictures_by_position(
    tmp_path: Path, towers: Towers, pictures: list[Path]
) -> None:
    absent = tmp_path / "absent.jpg"
    batch, bad = decode([absent, pictures[0], absent, pictures[1]], towers.pixels)
    assert bad == [(0, "no such file"), (2, "no such file")]
    alone, _ = decode(pictures[:2], towers.pixels)
    assert torch.equal(batch.pixels, alone.pixels)
    assert torch.equal(batch.grids, alone.grids)
    nothing, _ = decode([absent], towers.pixels)
    assert nothing.pixels.shape == (0, *batch.pixels.shape[1:])


def test_contradicting_processor_config_is_an_input_error(fixed_towers: Towers) -> None:
    vision = fixed_towers.model.config.vision_config
    with pytest.raises(InputError, match="32 × 32"):
        pixels.pixel_settings(vision, {"size": {"height": 224, "width": 224}}, False, None)
    with pytest.raises(InputError, match="do_rescale"):
        pixels.pixel_settings(vision, {"do_rescale": False}, False, None)


def test_torchvision_is_not_needed(
    folder: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)  # importing it now fails
    towers = load_checkpoint(str(folder), None, torch.device("cpu"))
    assert towers.encode_images(decode(pictures, towers.pixels)[0]).shape == (10, 32)


@pytest.mark.parametrize("kind", ["fixed", "naflex"])
def test_real_photographs_match_the_processor(
    kind: str, request: pytest.FixtureRequest, real_data: Path
) -> None:
    checkpoint = request.getfixturevalue(f"{kind}_folder")
    towers = load_checkpoint(str(checkpoint), None, torch.device("cpu"))
    paths = sorted((real_data / "coco-mini" / "images").rglob("*.jpg"))[::20]
    reference = reference_inputs(checkpoint, kind, paths)
    batch, bad = decode(paths, towers.pixels)
    assert not bad
    ours = tower_inputs(batch, towers.pixels)["pixel_values"]
    assert (ours - reference["pixel_values"]).abs().max() < 1e-6
