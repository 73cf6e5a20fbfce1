"""What TensorBoard and W&B read back is what was logged, once an epoch, without any network."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mmhash import tracking
from mmhash.errors import InputError
from mmhash.tracking import require_packages, trackers

REPOSITORY = Path(__file__).resolve().parents[1]
TENSORBOARD = {"tensorboard": True, "wandb": False}


def rows(count: int, shift: float = 0.0) -> list[dict[str, float]]:
    return [
        {"epoch": epoch, "lr": 1e-3 / (epoch + 1), "val_mAP": shift + epoch / 7}
        for epoch in range(count)
    ]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path / ".cache" / "tracking"


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def expected(logged: list[dict[str, float]]) -> dict[str, list[tuple[int, float]]]:
    return {
        name: [(int(row["epoch"]), pytest.approx(row[name], rel=1e-6)) for row in logged]
        for name in logged[0]
        if name != "epoch"
    }


def test_tensorboard_reads_back_every_value_under_its_name(root: Path) -> None:
    with trackers(TENSORBOARD, "a", {}) as log:
        for row in rows(4):
            log(row)
            assert curves(root / "tensorboard" / "a") == expected(rows(4)[: int(row["epoch"]) + 1])
    assert curves(root / "tensorboard" / "a") == expected(rows(4))
    assert [path.name for path in root.iterdir()] == ["tensorboard"]


def test_a_resumed_training_replaces_the_rows_of_its_first_attempt(root: Path) -> None:
    def interrupted() -> None:
        with trackers(TENSORBOARD, "a", {}) as log:
            for row in rows(3, shift=5.0):
                log(row)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert curves(root / "tensorboard" / "a") == expected(rows(3, shift=5.0))
    with trackers(TENSORBOARD, "a", {}) as log:
        for row in rows(2):
            log(row)
    assert curves(root / "tensorboard" / "a") == expected(rows(2))


def test_a_training_that_starts_over_with_a_smaller_batch_starts_its_curves_over(
    root: Path,
) -> None:
    with trackers(TENSORBOARD, "a", {}) as log:
        for row in rows(3, shift=5.0) + rows(4):
            log(row)
    assert curves(root / "tensorboard" / "a") == expected(rows(4))


def test_runs_of_other_names_lie_side_by_side(root: Path) -> None:
    for name in ("a", "b/../../c"):
        with trackers(TENSORBOARD, name, {}) as log:
            log(rows(1)[0])
    assert sorted(path.name for path in (root / "tensorboard").iterdir()) == ["a", "b-..-..-c"]


@pytest.mark.parametrize("enabled", [False, True])
def test_nothing_is_opened_without_a_row_or_without_the_switch(root: Path, enabled: bool) -> None:
    with trackers({"tensorboard": enabled, "wandb": enabled}, "a", {}) as log:
        if not enabled:
            log(rows(1)[0])
    assert not root.exists()


@pytest.mark.parametrize(
    ("absent", "words"),
    [
        ({"wandb"}, ["tracking.wandb is true", "pip install -c constraints.txt wandb, or set"]),
        (
            {"tensorboard", "wandb"},
            ["constraints.txt tensorboard wandb", "tracking.tensorboard=false and tracking.wandb="],
        ),
    ],
)
def test_a_missing_package_is_one_line_with_the_pip_command(
    root: Path, monkeypatch: pytest.MonkeyPatch, absent: set[str], words: list[str]
) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None if name in absent else object())
    require_packages({"tensorboard": "tensorboard" not in absent, "wandb": False})
    with (
        pytest.raises(InputError) as caught,
        trackers({"tensorboard": True, "wandb": True}, "a", {}),
    ):
        pass
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_the_pip_command_installs_the_pinned_versions() -> None:
    def pins(name: str) -> set[str]:
        return set((REPOSITORY / name).read_text(encoding="utf-8").splitlines())

    optional = {line for line in pins("requirements-tracking.txt") if "==" in line}
    assert {line.split("==")[0] for line in optional} == set(TENSORBOARD)
    assert optional <= pins("constraints.txt")
    assert optional <= pins("requirements-test.txt")
    assert not optional & pins("requirements.txt")


# W&B keeps one service a process and reads its settings once, so each case is a process of its own.
# Whatever leaves the machine would go through the proxy, and that is a socket that counts.
WANDB = """
import json, os, signal, socket, sys, threading
sys.path.insert(0, {src!r})
server = socket.create_server(("127.0.0.1", 0))
calls = []
def serve():
    while True:
        connection, _ = server.accept()
        calls.append(1)
        connection.close()
threading.Thread(target=serve, daemon=True).start()
address = "http://127.0.0.1:" + str(server.getsockname()[1])
for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "WANDB_BASE_URL"):
    os.environ[name] = os.environ[name.lower()] = address
from mmhash.tracking import trackers
from mmhash.errors import exit_code
def main():
    with trackers({{"tensorboard": False, "wandb": True}}, "a", {{"hash": {{"bits": 64}}}}) as log:
        for row in json.loads(sys.argv[1]):
            log(row)
        if "interrupt" in sys.argv:
            os.killpg(0, signal.SIGINT)
            threading.Event().wait(30)
code = exit_code(main)
print(len(calls))
sys.exit(code)
"""


def run_wandb(root: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Log the rows of the first argument; stdout is the number of network connections."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    home = root.parents[1]
    return subprocess.run(
        [sys.executable, "-c", WANDB.format(src=str(REPOSITORY / "src")), *arguments],
        env=clean | {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")} | environment,
        cwd=home,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        timeout=120,
    )


def offline_records(root: Path) -> list[Any]:
    """The records of the only offline run, as ``wandb sync`` reads them."""
    from wandb.proto.wandb_internal_pb2 import Record
    from wandb.sdk.internal.datastore import DataStore

    [path] = (root / "wandb" / "a" / "wandb").glob("offline-run-*/run-*.wandb")
    store = DataStore()
    store.open_for_scan(str(path))
    records = []
    while (data := store.scan_data()) is not None:
        record = Record()
        record.ParseFromString(data)
        records.append(record)
    return records


def history(records: list[Any]) -> list[dict[str, float]]:
    rows = []
    for record in records:
        if record.WhichOneof("record_type") == "history":
            items = {
                item.key or "/".join(item.nested_key): json.loads(item.value_json)
                for item in record.history.item
            }
            step = items.pop("_step", record.history.step.num)
            own = {name: value for name, value in items.items() if not name.startswith("_")}
            rows.append({"epoch": step, **own})
    return rows


def test_wandb_is_offline_holds_every_value_and_replaces_an_interrupted_attempt(root: Path) -> None:
    done = run_wandb(root, json.dumps(rows(3, shift=5.0)), "interrupt")
    assert done.returncode == 130, done.stderr
    assert done.stderr.splitlines()[-1] == "interrupted"
    assert done.stdout.splitlines()[-1] == "0"
    records = offline_records(root)
    assert history(records) == rows(3, shift=5.0)
    [end] = [record.exit for record in records if record.WhichOneof("record_type") == "exit"]
    assert end.exit_code == 1

    done = run_wandb(root, json.dumps(rows(4)))
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "0"), done.stderr
    records = offline_records(root)
    assert history(records) == rows(4)
    [end] = [record.exit for record in records if record.WhichOneof("record_type") == "exit"]
    assert end.exit_code == 0
    [run] = [record.run for record in records if record.WhichOneof("record_type") == "run"]
    assert (run.project, run.display_name, run.run_group) == ("mmhash", "a", "a")
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config["hash"] == {"bits": 64}
    assert [path.name for path in root.iterdir()] == ["wandb"]


def test_the_users_own_wandb_settings_decide_the_mode(root: Path) -> None:
    settings = root.parents[1] / ".config" / "wandb" / "settings"
    settings.parent.mkdir(parents=True)
    settings.write_text("[default]\nmode = disabled\n")
    done = run_wandb(root, json.dumps(rows(2)))
    assert done.returncode == 0, done.stderr
    assert not list(root.rglob("*.wandb"))

    online = run_wandb(root, json.dumps(rows(2)), WANDB_MODE="online")
    assert online.returncode == 1
    message = online.stderr.splitlines()[-1]
    assert message.startswith("error: tracking.wandb:")
    assert "WANDB_MODE=offline" in message
