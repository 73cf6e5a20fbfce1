"""The run as it is now: what ``mmhash index`` or another training changes reaches the next answer.

A prediction from what was loaded at the start would look right and be old. The page is another
matter: it shows the figures of the run that it was written for, and is read anew by starting again.
"""

from mmhash.errors import InputError
from mmhash.trained import TrainedRun

# Whatever changes predictions writes one of these last, the user among them.
WATCHED = (
    *("params.yaml", "metrics/eval.json"),
    *("model/config.json", "index/meta.json", "predictions/thresholds.json"),
    "collection/state.json",  # of a database that the user has changed
)


class Watched:
    """A run that is opened again after a change of its files. For one thread at a time."""

    def __init__(self, run: TrainedRun) -> None:
        """Start with ``run``, which was opened just now."""
        self.root = run.root
        self._run = run
        self._seen = self._marks()

    def now(self) -> TrainedRun:
        """Return the run as its files are; raises :class:`InputError` where they are not whole."""
        marks = self._marks()
        if marks != self._seen:
            self._run, self._seen = TrainedRun(self.root), marks
        return self._run

    def _marks(self) -> list[tuple[int, int] | None]:
        """Return size and time of change of the watched files, None where there is none."""
        found: list[tuple[int, int] | None] = []
        for name in WATCHED:
            try:
                about = (self.root / name).stat()
            except FileNotFoundError:
                found.append(None)
            except OSError as error:
                raise InputError(f"{name}: {error.strerror or error}") from None
            else:
                found.append((about.st_size, about.st_mtime_ns))
        return found
