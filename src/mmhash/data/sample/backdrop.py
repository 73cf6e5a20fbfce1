"""The painted backgrounds of the sample's scenes, their clutter, and the light over a picture."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]

_WALLS: dict[str, Colour] = {
    "white": (232, 230, 224),
    "blue": (150, 182, 214),
    "green": (160, 196, 160),
    "yellow": (236, 218, 150),
    "gray": (176, 178, 182),
    "pink": (234, 190, 196),
    "brown": (186, 156, 126),
}
_SKIES: dict[str, Colour] = {
    "sunny": (126, 186, 240),
    "cloudy": (190, 198, 206),
    "evening": (238, 170, 128),
}
_TINTS: dict[str, tuple[float, float, float]] = {
    "sunny": (1.05, 1.03, 0.98),
    "cloudy": (0.92, 0.94, 0.97),
    "evening": (0.9, 0.76, 0.68),
    "bright": (1.03, 1.02, 1.0),
    "dim": (0.78, 0.72, 0.66),
}


class _Canvas:
    """A picture under the brush, with coordinates as fractions of its width and height."""

    def __init__(self, size: tuple[int, int], colour: Colour, rng: np.random.Generator) -> None:
        self.image = Image.new("RGB", size, colour)
        self.pen = ImageDraw.Draw(self.image)
        self.size = size
        self.rng = rng

    def points(self, *xy: float) -> list[tuple[float, float]]:
        w, h = self.size
        return [(x * w, y * h) for x, y in zip(xy[::2], xy[1::2], strict=True)]

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: Colour) -> None:
        self.pen.rectangle(self.points(x0, y0, x1, y1), fill)

    def oval(self, x0: float, y0: float, x1: float, y1: float, fill: Colour) -> None:
        self.pen.ellipse(self.points(x0, y0, x1, y1), fill)

    def shape(self, fill: Colour, *xy: float) -> None:
        self.pen.polygon(self.points(*xy), fill)

    def line(self, fill: Colour, width: int, *xy: float) -> None:
        self.pen.line(self.points(*xy), fill, width)

    def vary(self, colour: Colour, spread: int = 12) -> Colour:
        """Return ``colour`` a little lighter or darker and off in hue."""
        shift = self.rng.integers(-spread, spread + 1, 4)
        r, g, b = (
            int(np.clip(c + shift[0] + s // 2, 0, 255))
            for c, s in zip(colour, shift[1:], strict=True)
        )
        return r, g, b

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))


def paint_backdrop(
    kind: str,
    size: tuple[int, int],
    ground: float,
    light: str,
    wall: str,
    rng: np.random.Generator,
) -> Image.Image:
    """Paint the background of a scene: RGB of ``size`` (width, height).

    ``ground`` is the height of the horizon or the floor's edge as a fraction; ``wall`` names the
    colour of the walls indoors and is empty outdoors. Distractors that are no category lie about.
    """
    canvas = _Canvas(size, _WALLS[wall] if wall else _SKIES[light], rng)
    if wall:
        _room(canvas, ground, wall)
    else:
        _sky(canvas, ground, light)
    _PAINTERS[kind](canvas, ground)
    _clutter(canvas, ground)
    return canvas.image


def add_light(picture: Image.Image, light: str, rng: np.random.Generator) -> Image.Image:
    """Return ``picture`` with its light's tint, a slope of brightness and the camera's noise."""
    width, height = picture.size
    slope_x, slope_y = rng.uniform(-0.12, 0.12, 2)
    gain = 1 + rng.uniform(-0.08, 0.08)
    across = np.linspace(-slope_x, slope_x, width, dtype=np.float32)
    down = np.linspace(-slope_y, slope_y, height, dtype=np.float32)
    shade = np.float32(gain) + across[None, :] + down[:, None]
    tint = np.array(_TINTS[light], dtype=np.float32)
    noise = rng.standard_normal((height, width), dtype=np.float32) * np.float32(rng.uniform(1.5, 5))
    lit = np.asarray(picture, dtype=np.float32) * shade[:, :, None] * tint + noise[:, :, None]
    return Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8), "RGB")


def _sky(canvas: _Canvas, ground: float, light: str) -> None:
    base = canvas.vary(_SKIES[light])
    pale: Colour = tuple(int(c + (245 - c) * 0.5) for c in base)  # type: ignore[assignment]
    for step in range(6):
        mix = step / 5
        r, g, b = (round(a + (p - a) * mix) for a, p in zip(base, pale, strict=True))
        canvas.box(0, ground * step / 6, 1, ground * (step + 1) / 6 + 0.01, (r, g, b))
    for _ in range(canvas.rng.integers(0, 4) if light != "cloudy" else 5):
        x, y, w = canvas.between(0, 1), canvas.between(0, ground * 0.6), canvas.between(0.1, 0.25)
        cloud = canvas.vary((246, 246, 246) if light == "sunny" else pale, 6)
        canvas.oval(x - w, y, x + w, y + 0.07, cloud)
        canvas.oval(x - w / 2, y - 0.04, x + w / 2, y + 0.05, cloud)


def _room(canvas: _Canvas, ground: float, wall: str) -> None:
    canvas.box(0, 0, 1, ground, canvas.vary(_WALLS[wall]))
    floor = canvas.vary(((150, 112, 78), (196, 188, 176), (120, 116, 112))[canvas.rng.integers(3)])
    canvas.box(0, ground, 1, 1, floor)
    canvas.line(canvas.vary((226, 222, 214)), 2, 0, ground, 1, ground)


def _window(canvas: _Canvas, ground: float) -> None:
    x = canvas.between(0.05, 0.7)
    canvas.box(x, 0.08, x + 0.25, ground * 0.6, (240, 240, 236))
    canvas.box(x + 0.02, 0.1, x + 0.23, ground * 0.6 - 0.02, canvas.vary((176, 212, 238)))
    canvas.line((240, 240, 236), 2, x + 0.125, 0.1, x + 0.125, ground * 0.6)


def _frame(canvas: _Canvas) -> None:
    x, y, w = canvas.between(0.05, 0.75), canvas.between(0.06, 0.2), canvas.between(0.12, 0.22)
    canvas.box(x, y, x + w, y + 0.18, canvas.vary((96, 72, 52)))
    canvas.box(x + 0.02, y + 0.025, x + w - 0.02, y + 0.155, canvas.vary((200, 190, 170), 40))


def _tree(canvas: _Canvas, x: float, foot: float, size: float) -> None:
    canvas.box(x - 0.015, foot - size * 0.5, x + 0.015, foot, canvas.vary((98, 72, 48)))
    crown = canvas.vary((62, 122, 62), 18)
    canvas.oval(x - size * 0.3, foot - size, x + size * 0.3, foot - size * 0.35, crown)


def _street(canvas: _Canvas, ground: float) -> None:
    x = 0.0
    while x < 1:
        w, top = canvas.between(0.14, 0.3), canvas.between(0.04, ground * 0.65)
        facade = canvas.vary(((172, 120, 98), (186, 178, 166), (140, 146, 158))[int(x * 7) % 3], 20)
        canvas.box(x, top, x + w - 0.01, ground, facade)
        pane = canvas.vary((112, 132, 150))
        for row in np.arange(top + 0.05, ground - 0.08, 0.11):
            for column in np.arange(x + 0.03, x + w - 0.05, 0.075):
                canvas.box(column, row, column + 0.035, row + 0.055, pane)
        x += w
    canvas.box(0, ground, 1, ground + 0.1, canvas.vary((188, 186, 180)))
    canvas.box(0, ground + 0.1, 1, 1, canvas.vary((104, 106, 110)))
    for x in np.arange(canvas.between(-0.1, 0.05), 1, 0.22):
        canvas.box(x, 0.8, x + 0.12, 0.82, (232, 228, 200))


def _counter(canvas: _Canvas, ground: float, front: Colour) -> None:
    canvas.box(0, 0.6, 1, ground + 0.14, front)
    canvas.box(0, 0.57, 1, 0.62, canvas.vary((214, 208, 198)))
    for x in np.arange(0.2, 1, 0.2):
        canvas.line(canvas.vary((90, 80, 70)), 1, x, 0.63, x, ground + 0.13)


def _kitchen(canvas: _Canvas, ground: float) -> None:
    front = canvas.vary(((200, 170, 130), (226, 222, 214), (142, 104, 74))[canvas.rng.integers(3)])
    canvas.box(0, 0, 1, 0.2, front)
    for x in np.arange(0.16, 1, 0.17):
        canvas.line(canvas.vary((90, 80, 70)), 1, x, 0, x, 0.2)
    _counter(canvas, ground, front)


def _bathroom(canvas: _Canvas, ground: float) -> None:
    tile = canvas.vary((214, 224, 228))
    canvas.box(0, 0.3, 1, ground, tile)
    grout = canvas.vary((178, 190, 196), 6)
    for x in np.arange(0.08, 1, 0.1):
        canvas.line(grout, 1, x, 0.3, x, ground)
    for y in np.arange(0.3, ground, 0.09):
        canvas.line(grout, 1, 0, y, 1, y)
    x = canvas.between(0.1, 0.6)
    canvas.box(x, 0.05, x + 0.28, 0.34, (236, 240, 242))
    canvas.box(x + 0.02, 0.07, x + 0.26, 0.32, canvas.vary((190, 210, 220)))
    for y in np.arange(ground + 0.08, 1, 0.09):
        canvas.line(grout, 1, 0, y, 1, y)


def _living_room(canvas: _Canvas, ground: float) -> None:
    if canvas.rng.random() < 0.5:
        _window(canvas, ground)
    else:
        _frame(canvas)
        _frame(canvas)
    rug = canvas.vary((170, 90, 84), 40)
    canvas.oval(0.12, ground + 0.1, 0.88, 0.98, rug)


def _bedroom(canvas: _Canvas, ground: float) -> None:
    x = canvas.between(0.05, 0.65)
    curtain = canvas.vary((176, 140, 170), 40)
    canvas.box(x, 0.05, x + 0.3, ground * 0.75, canvas.vary((190, 216, 236)))
    canvas.box(x - 0.04, 0.03, x + 0.07, ground * 0.85, curtain)
    canvas.box(x + 0.23, 0.03, x + 0.34, ground * 0.85, curtain)


def _board(canvas: _Canvas, colour: Colour) -> None:
    """Paint the top of a desk or a counter along the lower edge."""
    canvas.box(0, 0.8, 1, 1, colour)
    canvas.line(canvas.vary((70, 56, 44)), 1, 0, 0.8, 1, 0.8)


def _office(canvas: _Canvas, ground: float) -> None:
    _window(canvas, ground)
    x = canvas.between(0, 0.7)
    canvas.box(x, 0.3, x + 0.3, ground, canvas.vary((132, 138, 150)))
    _board(canvas, canvas.vary((206, 186, 156)))


def _restaurant(canvas: _Canvas, ground: float) -> None:
    canvas.box(0, ground - 0.24, 1, ground, canvas.vary((124, 78, 58)))
    for _ in range(2):
        x = canvas.between(0.05, 0.9)
        canvas.line((60, 56, 52), 1, x, 0, x, 0.1)
        canvas.shape(canvas.vary((230, 190, 90)), x - 0.06, 0.17, x, 0.08, x + 0.06, 0.17)
    _board(canvas, canvas.vary((142, 92, 58)))


def _beach(canvas: _Canvas, ground: float) -> None:
    canvas.box(0, ground, 1, 1, canvas.vary((52, 128, 172)))
    shore = canvas.between(0.56, 0.7)
    for _ in range(6):
        x, y = canvas.between(0, 0.9), canvas.between(ground + 0.03, shore)
        canvas.line((196, 224, 236), 1, x, y, x + canvas.between(0.08, 0.2), y)
    canvas.shape(canvas.vary((240, 244, 244), 6), 0, shore - 0.03, 1, shore + 0.02, 1, 1, 0, 1)
    canvas.shape(canvas.vary((226, 204, 158)), 0, shore, 1, shore + 0.05, 1, 1, 0, 1)


def _snow(canvas: _Canvas, ground: float) -> None:
    for _ in range(3):
        x, top, w = canvas.between(0, 1), canvas.between(0.08, 0.25), canvas.between(0.3, 0.5)
        canvas.shape(canvas.vary((150, 164, 184)), x - w, ground, x, top, x + w, ground)
        tip = 0.35
        near = top + (ground - top) * tip
        canvas.shape((244, 247, 252), x - w * tip, near, x, top, x + w * tip, near)
    tilt = canvas.between(-0.06, 0.06)
    slope = canvas.vary((236, 241, 248), 5)
    canvas.shape(slope, 0, ground - tilt, 1, ground + tilt, 1, 1, 0, 1)
    for _ in range(canvas.rng.integers(1, 6)):
        x, foot = canvas.between(0, 1), ground + canvas.between(0, 0.1)
        for level in range(3):
            y, w = foot - 0.06 * level, 0.05 - 0.012 * level
            canvas.shape(canvas.vary((44, 88, 66)), x - w, y, x, y - 0.1, x + w, y)


def _park(canvas: _Canvas, ground: float) -> None:
    canvas.box(0, ground - 0.03, 1, 1, canvas.vary((112, 168, 84)))
    for _ in range(canvas.rng.integers(2, 6)):
        _tree(
            canvas, canvas.between(0, 1), ground + canvas.between(0, 0.06), canvas.between(0.3, 0.5)
        )
    if canvas.rng.random() < 0.5:
        x = canvas.between(0.1, 0.7)
        canvas.shape(
            canvas.vary((206, 192, 164)), x, ground, x + 0.06, ground, x + 0.4, 1, x - 0.1, 1
        )


def _farm(canvas: _Canvas, ground: float) -> None:
    canvas.shape(
        canvas.vary((132, 158, 96)), 0, ground - 0.06, 0.5, ground - 0.14, 1, ground, 0, ground
    )
    canvas.box(0, ground, 1, 1, canvas.vary((146, 176, 84)))
    if canvas.rng.random() < 0.6:
        x = canvas.between(0.05, 0.7)
        barn = canvas.vary((164, 60, 50))
        canvas.box(x, ground - 0.16, x + 0.22, ground + 0.02, barn)
        canvas.shape(
            canvas.vary((96, 84, 80)),
            x - 0.02,
            ground - 0.15,
            x + 0.11,
            ground - 0.27,
            x + 0.24,
            ground - 0.15,
        )
    rail = canvas.vary((130, 104, 76))
    foot = ground + canvas.between(0.06, 0.14)
    for x in np.arange(0.04, 1, 0.16):
        canvas.box(x, foot - 0.1, x + 0.018, foot, rail)
    canvas.line(rail, 2, 0, foot - 0.08, 1, foot - 0.08)
    canvas.line(rail, 2, 0, foot - 0.04, 1, foot - 0.04)


def _savanna(canvas: _Canvas, ground: float) -> None:
    canvas.box(0, ground, 1, 1, canvas.vary((206, 178, 104)))
    for _ in range(canvas.rng.integers(1, 4)):
        x, foot = canvas.between(0, 1), ground + canvas.between(0, 0.05)
        canvas.box(x - 0.01, foot - 0.18, x + 0.01, foot, canvas.vary((104, 82, 56)))
        canvas.oval(x - 0.16, foot - 0.25, x + 0.16, foot - 0.15, canvas.vary((110, 130, 66)))
    for _ in range(14):
        x, y = canvas.between(0, 1), canvas.between(ground + 0.05, 1)
        canvas.line(canvas.vary((172, 146, 78)), 1, x, y, x + 0.01, y - 0.05)


def _station(canvas: _Canvas, ground: float) -> None:
    canvas.box(0, 0, 1, 0.12, canvas.vary((120, 126, 134)))
    for x in np.arange(canvas.between(0.05, 0.15), 1, 0.3):
        canvas.box(x, 0.12, x + 0.025, ground, canvas.vary((92, 98, 104)))
    canvas.box(0, ground, 1, ground + 0.16, canvas.vary((118, 110, 102)))
    for y in (ground + 0.06, ground + 0.12):
        canvas.line((72, 70, 70), 1, 0, y, 1, y)
    canvas.box(0, ground + 0.16, 1, 1, canvas.vary((186, 182, 174)))
    canvas.box(0, ground + 0.18, 1, ground + 0.21, (226, 196, 70))


def _airport(canvas: _Canvas, ground: float) -> None:
    x = canvas.between(0, 0.5)
    canvas.box(x, ground - 0.12, x + 0.45, ground, canvas.vary((198, 202, 206)))
    canvas.box(x, ground - 0.08, x + 0.45, ground - 0.05, canvas.vary((94, 124, 148)))
    canvas.box(0, ground, 1, ground + 0.06, canvas.vary((122, 160, 92)))
    canvas.box(0, ground + 0.06, 1, 1, canvas.vary((132, 134, 138)))
    canvas.line((236, 232, 210), 2, 0, 0.86, 1, 0.8)


def _sports_field(canvas: _Canvas, ground: float) -> None:
    stand = canvas.vary((96, 112, 140), 30)
    canvas.box(0, ground - 0.2, 1, ground, stand)
    for y in np.arange(ground - 0.18, ground, 0.05):
        canvas.line(canvas.vary(stand, 20), 1, 0, y, 1, y)
    turf = ((96, 160, 76), (188, 104, 70), (70, 120, 160))[canvas.rng.integers(3)]
    canvas.box(0, ground, 1, 1, canvas.vary(turf))
    near = canvas.between(0.8, 0.95)
    canvas.line((240, 240, 236), 2, 0, near, 1, near)
    canvas.line((240, 240, 236), 2, canvas.between(0.2, 0.4), ground + 0.1, 0, 1)
    canvas.line((240, 240, 236), 1, 0, ground + 0.1, 1, ground + 0.1)


def _clutter(canvas: _Canvas, ground: float) -> None:
    """Strew a few muted shapes that are no category."""
    for _ in range(canvas.rng.integers(0, 5)):
        x, y = canvas.between(0, 0.95), canvas.between(ground, 0.95)
        w = canvas.between(0.03, 0.11)
        r, g, b = (int(c) for c in canvas.rng.integers(70, 210, 3))
        colour = ((r + 130) // 2, (g + 130) // 2, (b + 130) // 2)
        form = canvas.rng.integers(4)
        if form == 0:
            canvas.box(x, y - w / 2, x + w, y + w / 2, colour)
        elif form == 1:
            canvas.oval(x, y - w / 3, x + w, y + w / 3, colour)
        elif form == 2:
            canvas.shape(colour, x, y + w / 2, x + w / 2, y - w / 2, x + w, y + w / 2)
        else:
            canvas.line(colour, 3, x, y, x + w, y - canvas.between(-0.08, 0.08))


_PAINTERS: dict[str, Callable[[_Canvas, float], None]] = {
    "street": _street,
    "kitchen": _kitchen,
    "restaurant": _restaurant,
    "living room": _living_room,
    "bedroom": _bedroom,
    "bathroom": _bathroom,
    "office": _office,
    "beach": _beach,
    "snow": _snow,
    "park": _park,
    "farm": _farm,
    "savanna": _savanna,
    "station": _station,
    "airport": _airport,
    "sports field": _sports_field,
}
