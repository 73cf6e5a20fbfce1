"""Experiments that exist: found in git, compared with this checkout, read without checking out.

DVC keeps an experiment as a commit under ``refs/exps``: its ``dvc.lock`` names the code, the data
and the parameters it ran with and the checksums of what came out; metrics lie in the commit, other
outputs in DVC's cache.
"""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from mmhash.errors import InputError
from mmhash.experiments.plan import Experiment, Values, lookup
from mmhash.files import read_json

TARGET = "evaluate"  # the last stage that an experiment needs; plots are drawn on request
EXPERIMENT_REF = re.compile(r"refs/exps/([0-9a-f]{2})/([0-9a-f]{38})/([^/]+)")
NOT_INPUTS = ("dvc.lock", "metrics", "reports", "README.md")  # written by runs or for readers


def _yaml(text: str) -> Any:
    return YAML(typ="safe").load(text)  # with the C parser: there is a dvc.lock an experiment


def git(root: Path, *arguments: str, stdin: str | None = None) -> bytes:
    """Return what git prints; raises :class:`InputError` with its last line where it fails."""
    command = ["git", "-C", str(root), *arguments]
    done = subprocess.run(  # noqa: S603
        command, capture_output=True, input=stdin.encode() if stdin is not None else None
    )
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise InputError(f"git {arguments[0]}: {said[-1]}")
    return done.stdout


@dataclass(frozen=True)
class Expected:
    """What a stage of an experiment must have run with, to be what this checkout would run."""

    command: str
    sources: Mapping[str, str]
    dependencies: frozenset[str]
    params: Mapping[str, Any]


class Checkout:
    """This repository: its commit, its pipeline, and the checksums of its files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.head = git(root, "rev-parse", "HEAD").decode().strip()
        path = root / "dvc.yaml"
        if not path.is_file():
            raise InputError(f"{path}: no such file; run from the repository's root")
        self._stages: dict[str, Any] = _yaml(path.read_text(encoding="utf-8"))["stages"]
        self._md5: dict[str, str] = {}

    def changed_files(self) -> list[str]:
        """Return tracked files that differ from the commit and can change a result."""
        listed = git(self.root, "status", "--porcelain", "--untracked-files=no").decode()
        names = [line[3:] for line in listed.splitlines()]
        return [name for name in names if name.split("/")[0] not in NOT_INPUTS]

    @cached_property
    def cache(self) -> Path:
        """DVC's cache of file contents."""
        command = [sys.executable, "-m", "dvc", "cache", "dir"]
        done = subprocess.run(command, cwd=self.root, capture_output=True, text=True)  # noqa: S603
        if done.returncode != 0:
            said = done.stderr.strip().splitlines() or ["no reason given"]
            raise InputError(f"dvc cache dir: {said[-1]}")
        return Path(done.stdout.strip())

    def expected(self, values: Values) -> dict[str, Expected]:
        """Return the inputs of every stage that leads to :data:`TARGET` under ``values``."""
        stages = {name: _interpolated(stage, values) for name, stage in self._stages.items()}
        made_by = {out: name for name, stage in stages.items() for out in _paths(stage, "outs")}
        found: dict[str, Expected] = {}
        queue = [TARGET]
        while queue:
            name = queue.pop()
            if name in found:
                continue
            paths = _paths(stages[name], "deps")
            makers = {path: _maker(path, made_by) for path in paths}
            queue += [maker for maker in makers.values() if maker is not None]
            found[name] = Expected(
                command=stages[name]["cmd"],
                sources={path: self._checksum(path) for path in paths if makers[path] is None},
                dependencies=frozenset(paths),
                params={key: lookup(values, key) for key in stages[name].get("params", [])},
            )
        return found

    def _checksum(self, path: str) -> str:
        if path not in self._md5:
            try:
                with (self.root / path).open("rb") as stream:
                    self._md5[path] = hashlib.file_digest(stream, "md5").hexdigest()
            except OSError as error:
                raise InputError(f"{path}: {error.strerror}; dvc.yaml depends on it") from None
        return self._md5[path]


def _interpolated(value: Any, values: Values) -> Any:
    """Fill in ``${block.key}`` as DVC does."""
    if isinstance(value, str):
        return re.sub(r"\$\{([^}]+)\}", lambda m: str(lookup(values, m[1].strip())), value)
    if isinstance(value, dict):
        return {_interpolated(k, values): _interpolated(v, values) for k, v in value.items()}
    return [_interpolated(item, values) for item in value] if isinstance(value, list) else value


def _paths(stage: Mapping[str, Any], entry: str) -> list[str]:
    return [next(iter(p)) if isinstance(p, dict) else p for p in stage.get(entry, [])]


def _maker(path: str, made_by: Mapping[str, str]) -> str | None:
    """Return the stage whose output ``path`` is or lies in."""
    parts = path.split("/")
    for end in range(len(parts), 0, -1):
        if (stage := made_by.get("/".join(parts[:end]))) is not None:
            return stage
    return None


class Record:
    """An experiment that has run. ``baseline`` is the commit that it hangs on."""

    def __init__(self, checkout: Checkout, ref: str, commit: str) -> None:
        matched = EXPERIMENT_REF.fullmatch(ref)
        assert matched is not None
        self.ref, self.commit = ref, commit
        self.baseline, self.name = matched[1] + matched[2], matched[3]
        self._checkout = checkout

    @cached_property
    def lock_text(self) -> str:
        """Its ``dvc.lock``; empty where it has none."""
        try:
            return git(self._checkout.root, "show", f"{self.commit}:dvc.lock").decode()
        except InputError:
            return ""

    @cached_property
    def stages(self) -> dict[str, Any]:
        """What its ``dvc.lock`` says of each stage."""
        return (_yaml(self.lock_text) or {}).get("stages", {})

    def metrics(self, path: str) -> Any:
        """Return a metrics file of its commit."""
        text = git(self._checkout.root, "show", f"{self.commit}:{path}")
        return json.loads(text)

    def params(self) -> Values:
        """Return ``params.yaml`` of its commit."""
        text = git(self._checkout.root, "show", f"{self.commit}:params.yaml")
        return _yaml(text.decode())

    def files(self, stage: str, out: str) -> dict[str, Path]:
        """Return where DVC's cache holds each file of an output folder.

        Raises :class:`InputError` where the cache no longer has them.
        """
        checksums = {entry["path"]: entry["md5"] for entry in self.stages[stage]["outs"]}
        listing = read_json(self._cached(checksums[out]))
        return {entry["relpath"]: self._cached(entry["md5"]) for entry in listing}

    def _cached(self, md5: str) -> Path:
        path = self._checkout.cache / "files" / "md5" / md5[:2] / md5[2:]
        if not path.is_file():
            raise InputError(f"experiment {self.name}: {path} is not in DVC's cache any more")
        return path

    def ran_with(self, expected: Mapping[str, Expected]) -> bool:
        """Whether code, data and parameters of its stages are ``expected``."""
        for name, stage in expected.items():
            ran = self.stages.get(name)
            if ran is None or ran["cmd"] != stage.command:
                return False
            checksums = {entry["path"]: entry.get("md5") for entry in ran.get("deps", [])}
            if checksums.keys() != stage.dependencies:
                return False
            if any(checksums[path] != md5 for path, md5 in stage.sources.items()):
                return False
            if ran.get("params", {}).get("params.yaml", {}) != stage.params:
                return False
        return True

    def complete(self) -> bool:
        """Whether all that tables read is still in the cache."""
        try:
            for stage, out in (
                ("train", "model"),
                ("build_index", "index"),
                (TARGET, "predictions"),
            ):
                self.files(stage, out)
        except InputError:
            return False
        return True


class Records:
    """All experiments of the repository."""

    def __init__(self, checkout: Checkout) -> None:
        self._checkout = checkout
        self._known: dict[str, Record] = {}
        self.refresh()

    def refresh(self) -> None:
        """Look again; what was read before is kept."""
        listed = git(
            self._checkout.root, "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps"
        )
        lines = (line.split(" ", 1) for line in listed.decode().splitlines())
        self._known = {
            ref: known
            if (known := self._known.get(ref)) is not None and known.commit == commit
            else Record(self._checkout, ref, commit)
            for commit, ref in lines
            if EXPERIMENT_REF.fullmatch(ref)
        }

    def all(self) -> list[Record]:
        """Return every experiment, by name; of one name the order of their references."""
        return sorted(self._known.values(), key=lambda record: (record.name, record.ref))

    def find(self, experiment: Experiment) -> Record | None:
        """Return a run of ``experiment`` with the code and data of this checkout, or None.

        Runs of its name are looked at first, then those of other names with the same inputs.
        """
        expected = self._checkout.expected(experiment.values)
        for record in self._candidates(experiment, expected):
            if record.ran_with(expected) and record.complete():
                return record
        return None

    def _candidates(
        self, experiment: Experiment, expected: Mapping[str, Expected]
    ) -> Iterator[Record]:
        named = [r for r in self._known.values() if r.name == experiment.name]
        yield from sorted(named, key=lambda r: (r.baseline != self._checkout.head, r.ref))
        # Parsing a lock file takes a quarter of a second; looking for a few words in it does not.
        words = {md5 for stage in expected.values() for md5 in stage.sources.values()}
        words |= {
            f"{key.split('.')[-1]}: {value}\n"
            for key, value in experiment.overrides.items()
            if type(value) in (int, str)
        }
        for record in self._known.values():
            if record.name != experiment.name and all(w in record.lock_text for w in words):
                yield record

    def clear(self, name: str) -> None:
        """Remove the experiment ``name`` of this commit, whose place a new run takes."""
        for ref, record in self._known.items():
            if record.name == name and record.baseline == self._checkout.head:
                git(self._checkout.root, "update-ref", "-d", ref, record.commit)
        self.refresh()
