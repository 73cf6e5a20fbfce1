"""Pictures to pixels, as the Hugging Face image processors make them, without torchvision.

A worker process decodes and resizes with Pillow and hands over bytes (uint8); the device rescales
and normalises. Two kinds, after the checkpoint:

``fixed``   resized to S × S, aspect ratio given up (SigLIP; the fixed-resolution SigLIP 2);
``naflex``  resized, aspect ratio kept, to the finest grid of at most ``max_num_patches`` patches,
            cut into patches, padded (Tschannen et al., "SigLIP 2", 2025, section 2.4.2).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image

from mmhash.data.picture import UnreadableError, read_picture
from mmhash.errors import InputError


@dataclass(frozen=True)
class PixelSettings:
    """How a checkpoint wants its pictures (from its config and its image processor's config)."""

    kind: Literal["fixed", "naflex"]
    patch_size: int
    image_size: int | None  # side in pixels, fixed only
    max_num_patches: int | None  # naflex only
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resample: int  # Pillow's filter number: 2 bilinear, 3 bicubic
    rescale: float


class Pictures(NamedTuple):
    """A batch of decoded pictures, uint8.

    ``pixels``: fixed (n, S, S, 3); naflex (n, max_num_patches, 3·patch²), rows past the grid zero.
    ``grids``: (n, 2) int64, patches high and wide. It stays on the CPU: the naflex tower reads it
    element by element, which on a GPU would wait for the device once a picture.
    """

    pixels: torch.Tensor
    grids: torch.Tensor

    def rows(self, start: int, stop: int) -> "Pictures":
        """Return the pictures ``start`` to ``stop``."""
        return Pictures(self.pixels[start:stop], self.grids[start:stop])


def pixel_settings(
    vision_config: Any, processor: dict[str, Any], naflex: bool, max_num_patches: int | None
) -> PixelSettings:
    """Return the settings from a checkpoint's vision config and image processor config.

    Raises :class:`InputError` where the two contradict each other, or where ``max_num_patches`` is
    given for a fixed-resolution checkpoint.
    """
    for step in ("do_resize", "do_rescale", "do_normalize"):
        if processor.get(step, True) is False:
            raise InputError(f"preprocessor_config.json: {step} is false, which is not supported")
    size = None
    if naflex:
        max_num_patches = max_num_patches or int(processor.get("max_num_patches", 256))
    else:
        if max_num_patches is not None:
            raise InputError(
                f"datasets.<name>.encoder.max_num_patches is {max_num_patches}, but the checkpoint "
                "has a fixed resolution; set it to null, or name a NaFlex checkpoint"
            )
        size = int(vision_config.image_size)
        stated = processor.get("size") or {"height": 224, "width": 224}
        if stated != {"height": size, "width": size}:
            raise InputError(
                f"preprocessor_config.json: size is {stated}, but the towers take {size} × {size}"
            )
    return PixelSettings(
        kind="naflex" if naflex else "fixed",
        patch_size=int(vision_config.patch_size),
        image_size=size,
        max_num_patches=max_num_patches,
        mean=tuple(processor.get("image_mean") or (0.5, 0.5, 0.5)),
        std=tuple(processor.get("image_std") or (0.5, 0.5, 0.5)),
        # What the processors of the two kinds do where the file is silent.
        resample=int(processor.get("resample", 2 if naflex else 3)),
        rescale=float(processor.get("rescale_factor", 1 / 255)),
    )


def patch_grid(height: int, width: int, patch_size: int, max_num_patches: int) -> tuple[int, int]:
    """Return the grid (patches high, patches wide) of the naflex resizing.

    The largest scale s, found by bisection to 1e-5, at which ⌈s·height/patch⌉ · ⌈s·width/patch⌉ is
    at most ``max_num_patches``. The bisection's bounds and tolerance belong to the protocol: a
    picture on a boundary gets the grid it has in the published processor.
    """

    def grid(scale: float) -> tuple[int, int]:
        high = max(1, math.ceil(height * scale / patch_size))
        wide = max(1, math.ceil(width * scale / patch_size))
        return high, wide

    low, up = 1e-6, 100.0
    while up - low >= 1e-5:
        middle = (low + up) / 2
        if math.prod(grid(middle)) <= max_num_patches:
            low = middle
        else:
            up = middle
    return grid(low)


def fit(image: Image.Image, settings: PixelSettings) -> tuple[np.ndarray, tuple[int, int]]:
    """Resize an RGB picture: its row of :class:`Pictures` (uint8) and its grid."""
    resample = Image.Resampling(settings.resample)
    side = settings.patch_size
    if settings.kind == "fixed":
        size = settings.image_size
        assert size is not None
        return np.asarray(image.resize((size, size), resample)), (size // side, size // side)
    assert settings.max_num_patches is not None
    high, wide = patch_grid(image.height, image.width, side, settings.max_num_patches)
    resized = np.asarray(image.resize((wide * side, high * side), resample))
    patches = resized.reshape(high, side, wide, side, 3).swapaxes(1, 2).reshape(high * wide, -1)
    padded = np.zeros((settings.max_num_patches, patches.shape[1]), dtype=np.uint8)
    padded[: high * wide] = patches
    return padded, (high, wide)


def decode(
    paths: Sequence[Path | str], settings: PixelSettings
) -> tuple[Pictures, list[tuple[int, str]]]:
    """Decode and resize: the readable pictures in order, and (position, reason) of the others."""
    rows: list[np.ndarray] = []
    grids: list[tuple[int, int]] = []
    bad: list[tuple[int, str]] = []
    for position, path in enumerate(paths):
        try:
            pixels, grid = fit(read_picture(path), settings)
        except UnreadableError as error:
            bad.append((position, str(error)))
            continue
        rows.append(pixels)
        grids.append(grid)
    if not rows:
        return empty_pictures(settings), bad
    return Pictures(torch.from_numpy(np.stack(rows)), torch.tensor(grids, dtype=torch.int64)), bad


def empty_pictures(settings: PixelSettings) -> Pictures:
    """Return a batch of no pictures."""
    if settings.kind == "fixed":
        assert settings.image_size is not None
        shape: tuple[int, ...] = (0, settings.image_size, settings.image_size, 3)
    else:
        assert settings.max_num_patches is not None
        shape = (0, settings.max_num_patches, 3 * settings.patch_size**2)
    return Pictures(torch.empty(shape, dtype=torch.uint8), torch.empty((0, 2), dtype=torch.int64))


def tower_inputs(pictures: Pictures, settings: PixelSettings) -> dict[str, torch.Tensor]:
    """Return what the vision tower takes, float32 on the device where the pixels are.

    fixed: ``pixel_values`` (n, 3, S, S). naflex: ``pixel_values`` (n, P, 3·patch²), zero past the
    grid; ``pixel_attention_mask`` (n, P) int32, 1 on the grid; ``spatial_shapes`` (n, 2).
    """
    device = pictures.pixels.device
    # Made on the CPU and sent: made on a GPU they would wait for all that was asked of it before.
    mean, std = (
        torch.tensor(values, dtype=torch.float32).to(device, non_blocking=True)
        for values in (settings.mean, settings.std)
    )
    values = pictures.pixels.to(torch.float32) * settings.rescale
    if settings.kind == "fixed":
        return {"pixel_values": ((values - mean) / std).permute(0, 3, 1, 2).contiguous()}
    count, length, width = values.shape
    values = ((values.view(count, length, width // 3, 3) - mean) / std).view(count, length, width)
    on_grid = torch.arange(length) < pictures.grids.prod(dim=1, keepdim=True)
    mask = on_grid.to(device=device, dtype=torch.int32, non_blocking=True)
    return {
        "pixel_values": values * mask[..., None],
        "pixel_attention_mask": mask,
        "spatial_shapes": pictures.grids,
    }
