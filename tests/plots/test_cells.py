"""Cells of sheets: what is known of images, pictures, text that stays inside."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from mmhash.errors import InputError
from mmhash.files import write_table
from mmhash.plots import cells, figures

CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
HOSTILE = (
    "A MAN RIDING A HORSE NEAR A BIG WHITE BUILDING IN THE EVENING WITH HIS WHOLE FAMILY",
    "W" * 5000,
    "two " + "M" * 60,
    "five $ and $x^2_ and \\frac{1}{2}",
    "a\x00b\u202e\n\tc",
    "",
)


def images(path: Path, pictures: bool = True) -> Path:
    """The table of images 1 to 4; the even ones have no label."""
    columns = {
        "image_id": range(1, 5),
        "folder": ["val2014" if pictures else ""] * 4,
        "file_name": [f"{i}.png" if pictures else "" for i in range(1, 5)],
        "captions": [["first", "second"]] * 3 + [[]],
        "category_ids": [[3, 7] if i % 2 else [] for i in range(1, 5)],
    }
    write_table(path, pa.table(columns))
    return path


def test_an_image_is_told_with_its_first_caption_and_its_classes(tmp_path: Path) -> None:
    about = cells.described([4, 1, 1], images(tmp_path / "images.parquet"), CATEGORIES)
    assert set(about) == {1, 4}
    assert about[1]["caption"] == "first"
    assert about[1]["classes"] == "cat, dog"
    assert about[1]["category_ids"] == [3, 7]
    assert about[4]["caption"] == about[4]["classes"] == ""


def test_an_image_that_the_table_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no image 9, which the predictions name"):
        cells.described([1, 9], images(tmp_path / "images.parquet"), CATEGORIES)


def test_thumbnails_are_small_and_upright_and_a_damaged_picture_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "images/val2014"
    folder.mkdir(parents=True)
    Image.new("RGB", (640, 320), (250, 0, 0)).save(folder / "1.png")
    (folder / "2.png").write_bytes(b"no picture")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (640, 320)).save(folder / "3.png", exif=exif)
    grey = np.full((40, 40), 128 << 8, dtype=np.uint16)
    Image.fromarray(grey).save(folder / "4.png")
    about = cells.described(range(1, 5), images(tmp_path / "images.parquet"), CATEGORIES)
    monkeypatch.setattr(cells, "ensure_raw", lambda *_: None)
    shown = cells.thumbnails(about, "coco2014", tmp_path)
    assert set(shown) == {1, 3, 4}
    assert shown[1].shape == (80, 160, 3)
    assert shown[3].shape == (160, 80, 3)
    assert (shown[4] == 128).all()  # as the towers saw it


def test_pictures_that_were_put_away_cost_no_ablation(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    about = cells.described([1], images(tmp_path / "images.parquet"), CATEGORIES)
    assert cells.thumbnails(about, "coco2014", tmp_path / "nowhere") == {}
    (line,) = caplog.messages
    assert line.startswith("sheets show ids in place of pictures: ")
    assert "nowhere" in line


def test_features_without_pictures_ask_for_no_raw_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "ensure_raw", lambda *_: pytest.fail("asked for pictures"))
    about = cells.described([1], images(tmp_path / "i.parquet", pictures=False), CATEGORIES)
    assert cells.thumbnails(about, "features", tmp_path) == {}


def test_what_the_font_cannot_write_is_a_box_and_controls_are_left_out() -> None:
    assert cells.legible("a 日本語 猫, ζώο") == "a □ □, ζώο"
    assert cells.legible(" a\x00b\u202e \n\tc") == "ab c"
    assert cells.says_something("日本 7")
    assert not cells.says_something("日本, 猫")


def test_long_text_ends_in_dots_and_a_long_word_is_broken() -> None:
    assert cells.wrapped("one two", 2, 1) == "one two"
    lines = cells.wrapped("many words " * 30, 1, 3).split("\n")
    assert len(lines) == 3
    assert lines[2].endswith(" …")
    assert cells.wrapped("✗ " + "W" * 50, 1, 1).startswith("✗ WW")
    assert cells.wrapped("x", 0.001, 1) == "x"  # no room at all


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.filterwarnings("error")
def test_text_stays_inside_its_cell(text: str) -> None:
    cell = cells.Cell(text, (text, text), None, text, lines=4, classes=text)
    with figures.style():
        figure, axis = cells.canvas(1.65, 2, text, text, "subject")
        cells.draw_cell(axis, 0, 0, 1.65, 2, cell)
        renderer = FigureCanvasAgg(figure).get_renderer()
        boxes = [one.get_window_extent(renderer) for one in axis.texts if one.get_text()]
    assert max(box.x1 for box in boxes) < figure.bbox.x1 - 0.05 * figure.dpi
    assert min(box.y0 for box in boxes) > 0
    assert max(box.y1 for box in boxes) < figure.bbox.y1
    for upper in boxes:
        # no line touches another
        assert sum(upper.y0 < (box.y0 + box.y1) / 2 < upper.y1 for box in boxes) == 1


def test_a_picture_keeps_its_proportions_inside_its_cell() -> None:
    with figures.style():
        _, axis = cells.canvas(3, 2, "title", "note", "subject")
        picture = np.zeros((40, 160, 3), np.uint8)
        cells.draw_cell(axis, 1, 0, 1.5, 2, cells.Cell("head", picture=picture))
    left, right, low, high = axis.images[0].get_extent()
    assert (right - left) / (low - high) == pytest.approx(4)
    assert 1 < left < right < 2.5
    assert axis.get_xlim() == (0, 3)


@pytest.mark.parametrize(
    ("kind", "bits", "expected"),
    [
        ("hamming", 64, "3 of 64 bits"),
        ("hamming", None, "1 − cos 3.000"),
        ("cosine", 64, "1 − cos 3.000"),
        ("hybrid", 64, "1 − cos 3.000"),
        ("asymmetric", 64, "1 − hᵀb / B 3.000"),
    ],
)
def test_a_distance_is_told_in_its_unit(kind: str, bits: int | None, expected: str) -> None:
    assert cells.Distance(kind, bits).text(3.0) == expected
