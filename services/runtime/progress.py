"""The progress bar of commands."""

import sys
import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

PROGRESS_SECONDS = 2.0


class ProgressBar:
    """A progress bar on standard error, if that is a terminal and the work takes longer than `PROGRESS_SECONDS`."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._began = time.monotonic()
        self._progress: Progress | None = None
        self._task = TaskID(0)

    def show(self, done: int, total: int) -> None:
        """Update the bar."""
        if self._progress is None and time.monotonic() - self._began > PROGRESS_SECONDS and sys.stderr.isatty():
            columns = (TextColumn(self._title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._progress.add_task(self._title, total=total)
            self._progress.start()
        if self._progress is not None:
            self._progress.update(self._task, completed=done, total=total)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()
