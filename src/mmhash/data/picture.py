"""A picture file, decoded within bounds: what the towers, the sheets and the page all look at."""

import stat
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# A picture of more pixels is refused before its pixels are decoded: a file of a few kilobytes can
# claim gigabytes. Pillow starts to warn at this size.
MAX_PIXELS = 89_478_485

# Formats whose decoders are plain; Pillow's PostScript reader, for one, starts another program.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")


class UnreadableError(Exception):
    """A picture that cannot be decoded; the message is the reason, without the path."""


def read_picture(path: Path | str | BytesIO) -> Image.Image:
    """Decode a picture file to RGB, turned upright by its EXIF orientation.

    This is what the Hugging Face processors do when they are given a path, but for 16 bits a pixel:
    of a grey picture too the upper eight are kept, where they would take nearly all of it for
    white. Raises :class:`UnreadableError` for a file that is missing, truncated, damaged, no
    picture, of more than ``MAX_PIXELS`` pixels, or of 32 bits a pixel, whose white nothing tells.
    """
    try:
        if not isinstance(path, BytesIO) and not stat.S_ISREG(Path(path).stat().st_mode):
            raise UnreadableError("not a file")  # a pipe would keep its reader waiting
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # bounded just below
            with Image.open(path, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise UnreadableError(
                        f"{image.width} × {image.height} pixels, more than {MAX_PIXELS:,}"
                    )
                if image.mode in ("I", "F"):
                    raise UnreadableError(
                        "32 bits a pixel, of which none says what is white; save it with 8 or 16"
                    )
                ImageOps.exif_transpose(image, in_place=True)
                if image.mode.startswith("I;16"):
                    upper = (np.asarray(image) >> 8).astype(np.uint8)
                    return Image.fromarray(upper).convert("RGB")
                return image.convert("RGB")
    except UnreadableError:
        raise
    except FileNotFoundError:
        raise UnreadableError("no such file") from None
    except UnidentifiedImageError:
        raise UnreadableError("not a picture, or damaged at its start") from None
    except Exception as error:
        # Pillow's decoders raise many types on damaged data (OSError, SyntaxError, struct.error …).
        raise UnreadableError(str(error).replace(str(path), "it") or type(error).__name__) from None
