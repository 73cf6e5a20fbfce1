import base64
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmhash.errors import InputError
from mmhash.page.pictures import SIDE
from mmhash.serve.answer import CHARACTERS, SHOWN, RefusedError, answers, one_line, shown_name
from mmhash.serve.watched import Watched


def test_an_answer_is_the_prediction_without_paths_and_with_thumbnails(stand_in, a_picture) -> None:
    (found,) = answers(Watched(stand_in), [("a.png", a_picture)], ["words"])
    assert found["tags"][0] == {"name": "40 wide", "score": 0.75, "chosen": True, "threshold": 0.5}
    assert found["accuracy"]["mAP"] == 0.4
    assert not found["image_only"]
    near = found["neighbours"][0]
    assert set(near) == {
        *("image_id", "distance", "share", "caption", "categories", "thumbnail"),
    }
    assert len(near["caption"]) <= CHARACTERS
    assert str(stand_in.root) not in json.dumps(found)
    kind, data = near["thumbnail"].split(",")
    assert kind == "data:image/webp;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as small:
        assert small.format == "WEBP"
        assert max(small.size) == SIDE


def test_a_picture_without_a_caption_has_the_accuracy_of_such(stand_in, a_picture) -> None:
    with_words, alone = answers(Watched(stand_in), [("a", a_picture)] * 2, ["words", None])
    assert (with_words["image_only"], alone["image_only"]) == (False, True)
    assert (with_words["accuracy"]["mAP"], alone["accuracy"]["mAP"]) == (0.4, 0.3)


@pytest.mark.parametrize("version", [0, 3])
def test_an_answer_says_whether_its_accuracy_is_of_an_earlier_database(
    stand_in, a_picture, version: int
) -> None:
    stand_in.database.version = version
    (found,) = answers(Watched(stand_in), [("a.png", a_picture)], ["words"])
    assert found["changed"] is (version == 3)


def test_the_nearest_have_thumbnails_and_a_missing_file_has_none(make_stand_in, a_picture) -> None:
    run = make_stand_in(neighbours=SHOWN + 5)
    (found,) = answers(Watched(run), [("a", a_picture)], [None])
    held = [entry["thumbnail"] is not None for entry in found["neighbours"]]
    assert held == [True] * SHOWN + [False] * 5
    gone = make_stand_in(neighbours=1)
    gone.root = Path("nowhere")
    (found,) = answers(Watched(gone), [("a", a_picture)], [None])
    assert found["neighbours"][0]["thumbnail"] is None


def test_hostile_pictures_are_refused_in_one_line_with_their_name(
    stand_in, hostile_pictures
) -> None:
    for name, (content, expected) in hostile_pictures.items():
        with pytest.raises(RefusedError) as refused:
            answers(Watched(stand_in), [(f"C:\\photos\\{name}", content)], [None])
        line = str(refused.value)
        assert line.startswith(f"{name}: ")
        assert expected in line
        assert one_line(line) == line
        assert "0x" not in line  # no address in memory


def test_a_fault_of_the_run_does_not_say_where_the_run_lies(stand_in, a_picture) -> None:
    def stream(images, captions):
        raise InputError(f"{stand_in.root / 'predictions' / 'x.json'}: no thresholds\nhere")
        yield

    stand_in.stream = stream
    with pytest.raises(RefusedError, match=r"^predictions/x\.json: no thresholds here$"):
        answers(Watched(stand_in), [("a", a_picture)], [None])


@given(st.text())
def test_a_shown_name_is_short_has_no_folder_and_is_one_line(name: str) -> None:
    shown = shown_name(name)
    assert 0 < len(shown) <= 60
    assert shown.isprintable()
    assert "/" not in shown
    assert "\\" not in shown


def test_names_that_turn_the_line_round_are_stripped() -> None:
    assert shown_name("../../etc/passwd") == "passwd"
    assert shown_name("a\u202egpj.exe") == "a gpj.exe"  # right-to-left override
    assert shown_name("\x00\x1b[31m.jpg") == "[31m.jpg"
    assert shown_name("猫.jpg") == "猫.jpg"
