import json
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mmhash
from mmhash.cli.main import main
from mmhash.codes import binarise, pack
from mmhash.collection import open_collection
from mmhash.files import digest, sha256_file

MakeRun = Callable[..., Path]


class Model:
    """Codes that depend on the picture's bytes alone, in place of towers and a model."""

    def stream_encoded(
        self, images: Sequence[Path], captions: Sequence[str | None]
    ) -> Iterator[Any]:
        for start in range(0, len(images), 2):
            paths = images[start : start + 2]
            seeds = [int(sha256_file(path)[:8], 16) for path in paths]
            soft = np.stack([np.random.default_rng(s).uniform(-1, 1, 16) for s in seeds])
            codes = SimpleNamespace(soft=soft, queries=pack(binarise(soft)), hashed=True)
            yield SimpleNamespace(start=start, stop=start + len(paths), reasons={}, encoded=codes)


@pytest.fixture
def root(
    tmp_path: Path, make_run: MakeRun, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The working directory: a run of 30 images, and five pictures in pictures/."""
    root = make_run(tmp_path / "run")
    params = (repository / "params.yaml").read_text().replace("\n  k: 50 ", "\n  k: 28 ")
    (root / "params.yaml").write_text(params)
    (root / "pictures").mkdir()
    for number in range(5):
        picture = Image.new("RGB", (40, 30), (40 * number, 0, 0))
        picture.save(root / "pictures" / f"{number}.png")
    monkeypatch.chdir(root)
    monkeypatch.setattr(mmhash, "load", lambda _: Model())
    monkeypatch.setattr("os.fsync", lambda _: None)
    return root


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run ``mmhash index`` and return exit code, stdout and what stderr says beside progress."""

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["index", *arguments])
        out, said = capsys.readouterr()
        lines = said.replace("\r", "\n").splitlines()
        lines = [line for line in lines if line and "%|" not in line]
        return int(ended.value.code or 0), out, "\n".join(lines)

    return call


def state_of(root: Path) -> str:
    """A digest of all that is below collection/ and index/, the lock apart."""
    files = [*(root / "collection").rglob("*"), *(root / "index").rglob("*")]
    known = sorted(file for file in files if file.is_file() and file.name != "lock")
    return digest(*(part for file in known for part in (str(file), file.read_bytes())))


def write_list(root: Path, *rows: str) -> str:
    (root / "list.csv").write_text("\n".join(["file,labels,caption", *rows, ""]), "utf-8")
    return "list.csv"


def test_images_with_labels_are_added_and_undone(root: Path, run) -> None:
    built = state_of(root)
    code, out, _ = run("add", "pictures/0.png", "pictures/1.png", "--labels", "DOG; cat")
    assert code == 0
    assert out == (
        "added 2 images with id 501 to 502\n"
        "2 images without a caption: encoded as predict encodes one\n"
        "predictions search version 1; mmhash index undo goes back\n"
    )
    opened = open_collection(root)
    first = opened.items.to_pylist()[0]
    assert first["labels"] == ["dog", "cat"]
    assert first["path"] == str(root / "pictures/0.png")
    assert first["caption"] is None
    with Image.open(opened.picture(first["sha256"])) as image:
        assert image.format == "JPEG"
    assert run("undo")[1] == "version 1 -> 0\npredictions search index/ as built\n"
    assert run("undo")[0] == 1
    assert run("redo")[1].startswith("version 0 -> 1\n")
    assert run("redo")[2] == "error: nothing to redo: no version was undone since the last change"
    assert run("reset")[0] == 0
    shutil.rmtree(root / "collection")
    assert state_of(root) == built


def test_a_list_with_new_categories_is_added(root: Path, run) -> None:
    rows = [
        "pictures/0.png,okapi;dog,an okapi",
        "pictures/1.png,Okapi,",
        "pictures/2.png,cat,a cat",
    ]
    code, _, said = run("add", write_list(root, *rows))
    assert (code, said.count("\n")) == (1, 0)
    assert "unknown category 'okapi' in list.csv line 2; --new-categories adds" in said
    code, out, _ = run("add", "list.csv", "--new-categories")
    assert code == 0
    assert "new category okapi: 2 images\n1 image without a caption" in out
    assert [c["name"] for c in open_collection(root).categories][-1] == "okapi"


def test_info_shows_versions_additions_and_categories(root: Path, run) -> None:
    assert run("info")[1].startswith(
        "index/ as built (version 0): flat, 16 bits, 30 items of 30 images, "
    )
    rows = ["pictures/0.png,okapi,<script>alert(1)</script>", "pictures/1.png,🦒;זברה,c"]
    run("add", write_list(root, *rows), "--new-categories")
    run("remove", "100")
    out = run("info")[1]
    assert "version 2: flat, 16 bits, 31 items of 31 images, " in out
    assert "*    2  removed 1 image (" in out
    assert "     1  added 2 pictures and categories okapi, 🦒, זברה (" in out
    assert "added categories (images): okapi 1, 🦒 1, זברה 1" in out
    assert f"  501  okapi  {root / 'pictures/0.png'}" in out
    told = run("info", "--json")[1]
    assert told.isascii()  # a terminal that shows no Hebrew loses no letter of it
    about = json.loads(told)
    assert about["removed"] == [100]
    assert about["added"][0]["caption"] == "<script>alert(1)</script>"
    counts = {entry["name"]: entry["images"] for entry in about["categories"]}
    labels = np.load(root / "index/labels.npy")[1:]
    assert counts["dog"] == labels[:, 1].sum()
    assert [entry["added"] for entry in about["categories"]] == [False] * 3 + [True] * 3


def test_info_of_many_additions_is_cut_short(root: Path, run) -> None:
    for number in range(25):
        Image.new("RGB", (40, 30), (0, 9 * number, 0)).save(root / f"{number}.png")
    run("add", *[f"{number}.png" for number in range(25)], "--labels", "cat")
    assert "  and 5 more added images: --json lists all" in run("info")[1]


def test_a_category_is_dropped_and_its_pictures_are_named(root: Path, run) -> None:
    run("add", "pictures/0.png", "--labels", "okapi", "--new-categories")
    code, out, _ = run("remove", "--category", "OKAPI")
    assert code == 0
    assert "dropped category okapi\n1 added image without a label now; to take out: " in out
    assert "mmhash index remove 501\n" in out
    assert run("remove", "--category", "dogg")[2] == (
        "error: no category 'dogg' (did you mean dog?)"
    )
    assert "the model was trained with" in run("remove", "--category", "Dog")[2]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("add",),
        ("add", "pictures/0.png"),
        ("add", "list.csv", "--labels", "cat"),
        ("add", "list.csv", "--caption", "a cat"),
        ("add", "list.csv", "other.csv"),
        ("remove",),
        ("remove", "5", "--category", "cat"),
        ("remove", "five"),
        ("remove", "-5"),
        ("undo", "2"),
        ("forget",),
    ],
)
def test_wrong_usage_is_exit_code_two(root: Path, run, arguments: tuple[str, ...]) -> None:
    code, _, said = run(*arguments)
    assert code == 2
    assert "usage: mmhash " in said


def hostile(folder: Path) -> dict[str, str]:
    """Write files that are no pictures; return what is said of each."""
    good = (folder / "0.png").read_bytes()
    (folder / "cut.png").write_bytes(good[: len(good) // 2])
    (folder / "text.jpg").write_text("hello")
    (folder / "empty.jpg").touch()
    huge = bytearray(good)
    huge[16:24] = (40_000).to_bytes(4, "big") * 2
    huge[29:33] = zlib.crc32(huge[12:29]).to_bytes(4, "big")
    (folder / "huge.png").write_bytes(huge)
    return {
        "cut.png": "",
        "text.jpg": "not a picture",
        "empty.jpg": "not a picture",
        "huge.png": "Image size (1600000000 pixels) exceeds limit",
        "none.jpg": "no such file",
    }


def test_bad_pictures_are_all_named_and_nothing_is_changed(root: Path, run) -> None:
    run("add", "pictures/0.png", "--labels", "cat")
    before, bad = state_of(root), hostile(root / "pictures")
    names = [f"pictures/{name}" for name in ("1.png", *bad)]
    code, out, said = run("add", *names, "--labels", "cat")
    assert (code, out) == (1, "")
    assert said.startswith("error: 5 pictures cannot be read: ")
    assert said.count("\n") == 0
    for name, reason in bad.items():
        assert f"{name} ({reason}" in said
    assert state_of(root) == before


def test_the_same_picture_again_is_refused(root: Path, run) -> None:
    run("add", "pictures/0.png", "--labels", "cat")
    shutil.copy(root / "pictures/0.png", root / "again.png")
    code, _, said = run("add", "again.png", "--labels", "dog")
    assert code == 1
    assert said == "error: 1 picture would stand twice: again.png is image 501; nothing is added"


def test_a_caption_of_100000_letters_and_names_of_any_script_are_kept(root: Path, run) -> None:
    caption = "🦒 " * 50_000
    code, out, _ = run(
        *("add", "pictures/0.png", "--labels", "<script>alert(1)</script>;זברה"),
        *("--caption", caption, "--new-categories"),
    )
    assert code == 0
    assert "new category <script>alert(1)</script>: 1 image" in out
    assert open_collection(root).items["caption"][0].as_py() == caption.strip()
    code, _, said = run("add", "pictures/1.png", "--labels", "a\x1b[2Jb", "--new-categories")
    assert code == 1
    assert said.isprintable()


def test_removing_so_much_that_too_few_could_vote_is_one_line(root: Path, run) -> None:
    code, _, said = run("remove", "100", "101", "102")
    assert code == 1
    assert said == (
        "error: 27 items would be left, and knn.k = 28 neighbours vote; "
        "remove fewer, or lower knn.k"
    )
    assert run("remove", "100", "100", "101")[1].startswith("removed 2 images\n")
    assert run("remove", "100")[2].startswith("error: no image 100 in the database")


def test_a_failing_model_changes_nothing(root: Path, run, monkeypatch) -> None:
    run("add", "pictures/0.png", "--labels", "cat")
    before = state_of(root)

    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(mmhash, "load", interrupted)
    code, _, said = run("add", "pictures/1.png", "--labels", "cat")
    assert (code, said) == (130, "interrupted: nothing was changed")
    assert state_of(root) == before


def test_after_another_training_rebuild_encodes_again(
    root: Path, run, make_run: MakeRun, tmp_path: Path
) -> None:
    rows = ["pictures/0.png,okapi,an okapi", "pictures/1.png,cat,"]
    run("add", write_list(root, *rows), "--new-categories")
    assert "nothing to rebuild" in run("rebuild")[2]
    other = make_run(tmp_path / "other", seed=1)
    for name in ("index", "model"):
        shutil.rmtree(root / name)
        shutil.copytree(other / name, root / name)
    code, _, said = run("add", "pictures/2.png", "--labels", "cat")
    assert code == 1
    assert "belongs to another training" in said
    assert "mmhash index rebuild" in said
    assert run("info")[1].startswith("warn  collection: its version 1 belongs to another")
    (root / "pictures/1.png").rename(root / "away.png")
    code, _, said = run("rebuild")
    assert code == 1
    assert f"1 image that had been added are gone or changed: {root / 'pictures/1.png'};" in said
    (root / "away.png").rename(root / "pictures/1.png")
    code, out, _ = run("rebuild")
    assert code == 0
    assert out.startswith("encoded 2 added images with the model of now\n")
    opened = open_collection(root)
    assert (opened.version, opened.items.num_rows) == (2, 2)
    assert opened.categories[-1]["name"] == "okapi"
    assert run("undo")[1].startswith("version 2 -> 0\n")


def test_a_checkout_in_which_nothing_is_trained_is_one_line(
    tmp_path: Path, repository: Path, run, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for act in ("info", "undo", "rebuild"):
        code, _, said = run(act)
        assert code == 1
        assert said.startswith("error: ")
        assert said.count("\n") == 0
    shutil.copy(repository / "params.yaml", tmp_path)
    Image.new("RGB", (9, 9)).save("a.png")
    assert "index/meta.json: no such file; run dvc repro" in run("add", "a.png", "--labels", "x")[2]


def test_looking_and_undoing_load_neither_torch_nor_faiss(root: Path, repository: Path) -> None:
    program = (
        "import sys; from mmhash.cli.main import main\n"
        "try: main(['index', sys.argv[1]])\n"
        "except SystemExit: print([n for n in ('torch', 'faiss') if n in sys.modules])"
    )
    for act in ("info", "undo"):
        done = subprocess.run(
            [sys.executable, "-c", program, act],
            env={"PYTHONPATH": str(repository / "src"), "PATH": ""},
            capture_output=True,
            text=True,
        )
        assert done.stdout.endswith("[]\n"), done.stderr


def test_help_gives_an_example_for_every_act(run) -> None:
    for act in ("add", "remove", "info", "undo", "redo", "reset", "rebuild"):
        code, out, _ = run(act, "--help")
        assert code == 0
        assert f"example: mmhash index {act}" in out


def test_a_file_name_that_is_no_text_or_moves_the_cursor_is_one_line(root: Path, run) -> None:
    for name in ("a\x1b[2Jb.png", "caf\udce9.png"):
        shutil.copy(root / "pictures/0.png", root / name)
        code, _, said = run("add", name, "--labels", "cat")
        assert code == 1
        assert "holds control characters, or letters that are no UTF-8; rename it" in said
        assert said.isprintable()


def test_info_outlives_a_damaged_earlier_version(root: Path, run) -> None:
    run("add", "pictures/0.png", "--labels", "cat")
    run("add", "pictures/1.png", "--labels", "cat")
    (root / "collection/versions/0001/version.json").write_text("{")
    code, out, _ = run("info")
    assert code == 0
    assert "     1  damaged (" in out
    assert run("undo")[0] == 0
    assert "0001: damaged" in run("info")[2]
    assert run("undo")[1] == "version 1 -> 0\npredictions search index/ as built\n"
