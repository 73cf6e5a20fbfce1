"""A small drawing language: a class of objects is a text, one filled shape a line.

A drawing opens with ``name WIDTHxHEIGHT`` (the longest side is 100 units, so the aspect ratio is
stated and circles are round), with ``fixed`` behind it where a mirror image would be wrong. A name
may have several drawings. Lines ``part = colour colour ...`` give the colours an instance may take;
``part-`` and ``part+`` are its shade and its tint. Shapes follow from back to front, x to the
right and y down:

    disc COLOUR cx cy r                 oval COLOUR cx cy rx ry
    ring COLOUR width cx cy rx [ry]     arc COLOUR width cx cy rx ry start end
    pie COLOUR cx cy rx ry start end    chord COLOUR cx cy rx ry start end
    box COLOUR x0 y0 x1 y1 [radius]     poly COLOUR x y x y ...
    blob COLOUR x y x y ...             a smooth closed outline through the points
    line COLOUR width x y x y ...       a stroke with round ends and corners
    curve COLOUR width x y x y ...      a smooth stroke through the points

Angles are degrees, clockwise from three o'clock. The colour ``clear`` cuts a hole.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int, int]
Point = tuple[float, float]

COLOURS = {
    "white": "#fbfbf8", "snow": "#eceff1", "cream": "#f7ecc9", "silver": "#c3c9cf",
    "grey": "#9a9fa6", "steel": "#8795a3", "slate": "#66717e", "charcoal": "#3a4048",
    "black": "#1d1f23", "red": "#d92b2b", "crimson": "#b01c38", "maroon": "#7b2430",
    "orange": "#f28a1e", "amber": "#f2ad2e", "yellow": "#f7d433", "gold": "#dcb254",
    "lime": "#a5cf3a", "signal": "#2fc25b", "green": "#3b9b46", "forest": "#25693a",
    "olive": "#7f8a35", "teal": "#20938f", "cyan": "#3cc3d9", "sky": "#86c5ee",
    "blue": "#2b69cf", "denim": "#4b6a97", "navy": "#22335f", "purple": "#7a3fa8",
    "pink": "#f29bb7", "rose": "#e8808a", "peach": "#f4c8a4", "tan": "#d9a878",
    "sand": "#dcc29a", "brown": "#8f5a32", "coffee": "#6a4630", "umber": "#55382a",
    "wood": "#b37b45", "ochre": "#c98f3d", "crust": "#d99a4e", "glass": "#b5d9ea",
}  # fmt: skip

_SHADE, _TINT = 0.76, 0.45
_CURVE_STEPS = 5
_MARGIN = 8.0  # units round the box, room for strokes and for the stretch
_ANGLED = {"arc", "pie", "chord"}
_STROKED = {"ring", "arc", "line", "curve"}
_OUTLINED = {"poly", "blob", "line", "curve"}


@dataclass(frozen=True)
class Shape:
    """One shape: ``count`` points of the drawing from ``first`` on, and what else it needs."""

    kind: str
    colour: str
    first: int
    count: int
    width: float = 0.0
    radius: float = 0.0
    angles: tuple[float, float] = (0.0, 360.0)


@dataclass(frozen=True)
class Drawing:
    """A parsed drawing: box in units, colour choices of its parts, shapes, and all their points."""

    width: float
    height: float
    mirrors: bool
    palette: dict[str, list[str]]
    shapes: list[Shape]
    points: np.ndarray


def _smooth(points: np.ndarray, closed: bool) -> np.ndarray:
    """Catmull-Rom spline through (n, 2) points."""
    if closed:
        padded = np.concatenate([points[-1:], points, points[:2]])
    else:
        padded = np.concatenate([points[:1], points, points[-1:]])
    t = np.linspace(0.0, 1.0, _CURVE_STEPS, endpoint=False)[:, None]
    spans = []
    for p0, p1, p2, p3 in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        slope, bend = p2 - p0, 2 * p0 - 5 * p1 + 4 * p2 - p3
        twist = 3 * (p1 - p2) + p3 - p0
        spans.append(p1 + 0.5 * (slope * t + bend * t**2 + twist * t**3))
    if not closed:
        spans.append(points[-1:])
    return np.concatenate(spans)


def _parse_shape(words: Sequence[str], first: int) -> tuple[Shape, np.ndarray]:
    kind, colour = words[0], words[1]
    values = [float(word) for word in words[2:]]
    width = values.pop(0) if kind in _STROKED else 0.0
    if kind in _OUTLINED:
        points = np.array(values).reshape(-1, 2)
        if kind in ("blob", "curve"):
            points = _smooth(points, closed=kind == "blob")
        return Shape(kind, colour, first, len(points), width), points
    if kind == "box":
        radius = values[4] if len(values) == 5 else 0.0
        return Shape(kind, colour, first, 2, radius=radius), np.array(values[:4]).reshape(2, 2)
    if kind not in {"disc", "oval", "ring", *_ANGLED}:
        raise ValueError(f"no such shape: {' '.join(words)}")
    start, end = (values.pop(-2), values.pop(-1)) if kind in _ANGLED else (0.0, 360.0)
    cx, cy, rx = values[:3]
    ry = values[3] if len(values) == 4 else rx
    corners = np.array([[cx - rx, cy - ry], [cx + rx, cy + ry]])
    return Shape(kind, colour, first, 2, width, angles=(start, end)), corners


def _parse_drawing(lines: Sequence[str]) -> tuple[str, Drawing]:
    *name, size = lines[0].removesuffix(" fixed").split()
    width, height = (float(side) for side in size.split("x"))
    palette: dict[str, list[str]] = {}
    shapes: list[Shape] = []
    points: list[np.ndarray] = []
    for line in lines[1:]:
        part, equals, choices = line.partition(" = ")
        if equals:
            palette[part.strip()] = choices.split()
            continue
        shape, shape_points = _parse_shape(line.split(), sum(map(len, points)))
        if shape.colour.rstrip("+-") not in {"clear", *palette, *COLOURS}:
            raise ValueError(f"no such colour: {line.strip()}")
        shapes.append(shape)
        points.append(shape_points)
    mirrors = not lines[0].endswith(" fixed")
    return " ".join(name), Drawing(width, height, mirrors, palette, shapes, np.concatenate(points))


def parse_art(text: str) -> dict[str, list[Drawing]]:
    """Parse drawings separated by blank lines; a name maps to all drawings that bear it.

    Raises ValueError for an unknown shape or colour.
    """
    art: dict[str, list[Drawing]] = {}
    for block in text.strip().split("\n\n"):
        name, drawing = _parse_drawing(block.splitlines())
        art.setdefault(name, []).append(drawing)
    return art


def _instance_colours(drawing: Drawing, rng: np.random.Generator) -> Callable[[str], Colour]:
    """Choose a colour for every part, vary each a little, and return the look-up by name."""
    chosen = {
        part: _vary(COLOURS[choices[rng.integers(len(choices))]], rng)
        for part, choices in drawing.palette.items()
    }

    def resolve(name: str) -> Colour:
        if name == "clear":
            return (0, 0, 0, 0)
        base = name.rstrip("+-")
        red, green, blue = chosen.get(base) or _rgb(COLOURS[base])
        for sign in name[len(base) :]:
            if sign == "-":
                red, green, blue = red * _SHADE, green * _SHADE, blue * _SHADE
            else:
                red, green, blue = (c + _TINT * (255 - c) for c in (red, green, blue))
        return (int(red), int(green), int(blue), 255)

    return resolve


def _rgb(code: str) -> tuple[float, float, float]:
    return int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16)


def _vary(code: str, rng: np.random.Generator) -> tuple[float, float, float]:
    light = rng.uniform(0.88, 1.08)
    cast = rng.uniform(-10.0, 10.0, size=3)
    red, green, blue = (
        min(255.0, max(0.0, c * light + shift)) for c, shift in zip(_rgb(code), cast, strict=True)
    )
    return red, green, blue


def _stretch(drawing: Drawing, rng: np.random.Generator) -> np.ndarray:
    """Points of an instance: each axis is stretched by a smooth monotone function of itself.

    Boxes and ellipses stay axis-aligned and parts that touch still touch.
    """
    side = np.array([drawing.width, drawing.height])
    strength = rng.uniform(0.0, 0.14, size=2)
    phase = rng.uniform(0.0, 2 * np.pi, size=2)
    scale = np.array([rng.uniform(0.94, 1.06), 1.0])
    angle = 2 * np.pi * drawing.points / side + phase
    return (
        drawing.points + strength * side / (2 * np.pi) * (np.sin(angle) - np.sin(phase))
    ) * scale


def _draw_stroke(
    draw: ImageDraw.ImageDraw, points: list[Point], width: float, colour: Colour
) -> None:
    draw.line(points, fill=colour, width=max(1, round(width)))
    radius = width / 2
    for x, y in points:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _draw_shape(
    draw: ImageDraw.ImageDraw, shape: Shape, points: list[Point], colour: Colour, scale: float
) -> None:
    if shape.kind in ("poly", "blob"):
        draw.polygon(points, fill=colour)
        return
    width = shape.width * scale
    if shape.kind in ("line", "curve"):
        _draw_stroke(draw, points, width, colour)
        return
    (x0, y0), (x1, y1) = points
    box = (x0, y0, x1, y1)
    if shape.kind in ("disc", "oval"):
        draw.ellipse(box, fill=colour)
    elif shape.kind == "ring":
        draw.ellipse(box, outline=colour, width=max(1, round(width)))
    elif shape.kind == "arc":
        draw.arc(box, *shape.angles, fill=colour, width=max(1, round(width)))
    elif shape.kind == "pie":
        draw.pieslice(box, *shape.angles, fill=colour)
    elif shape.kind == "chord":
        draw.chord(box, *shape.angles, fill=colour)
    elif shape.radius:
        draw.rounded_rectangle(box, shape.radius * scale, fill=colour)
    else:
        draw.rectangle(box, fill=colour)


def render(drawing: Drawing, size: int, rng: np.random.Generator) -> Image.Image:
    """Draw one instance as an RGBA picture whose longest side is ``size`` pixels.

    The picture is cropped to the ink, transparent elsewhere, and anti-aliased by drawing two to
    four times larger. ``rng`` chooses colours, stretch, stroke weight and mirroring.
    """
    colours = _instance_colours(drawing, rng)
    points = _stretch(drawing, rng)
    weight = rng.uniform(0.9, 1.15)
    mirrored = rng.random() < 0.5
    oversampling = 4 if size <= 40 else 3 if size <= 96 else 2
    scale = size * oversampling / 100.0
    extent = (np.array([drawing.width * 1.06, drawing.height]) + 2 * _MARGIN) * scale
    canvas = Image.new("RGBA", (int(extent[0]) + 1, int(extent[1]) + 1))
    draw = ImageDraw.Draw(canvas)
    pixels: list[Point] = [(x, y) for x, y in ((points + _MARGIN) * scale).tolist()]
    for shape in drawing.shapes:
        own = pixels[shape.first : shape.first + shape.count]
        stroke = scale * weight if shape.width else scale
        _draw_shape(draw, shape, own, colours(shape.colour), stroke)
    ink = canvas.getbbox()
    assert ink is not None, "a drawing has at least one visible shape"
    width, height = ink[2] - ink[0], ink[3] - ink[1]
    longest = max(width, height)
    target = max(1, round(size * width / longest)), max(1, round(size * height / longest))
    picture = canvas.resize(target, Image.Resampling.BOX, box=ink)
    if drawing.mirrors and mirrored:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return picture
