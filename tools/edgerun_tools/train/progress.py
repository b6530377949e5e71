"""A progress line: a rich bar on a terminal, plain lines elsewhere or without rich."""
from __future__ import annotations

import sys
import time


class Progress:
    """Progress of a run measured in `total` units, starting at `done`."""

    def __init__(self, title: str, total: int, done: int = 0, every: float = 30.0) -> None:
        self._title, self._total, self._every, self._last = title, total, every, time.time()
        self._bar = None
        if sys.stderr.isatty():
            try:
                from rich.console import Console
                from rich.progress import Progress as Bar
                self._bar = Bar(console=Console(stderr=True))
                self._bar.start()
                self._task = self._bar.add_task(title, total=total, completed=done)
            except ImportError:
                pass

    def update(self, done: int, text: str) -> None:
        """Show that `done` units are finished; plain lines appear at most every `every` seconds."""
        if self._bar:
            self._bar.update(self._task, completed=done, description=f"{self._title} {text}")
        elif time.time() - self._last >= self._every:
            self._last = time.time()
            print(f"{self._title} {100 * done / self._total:5.1f} % {text}", file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """Print a line that stays."""
        if self._bar:
            self._bar.console.print(text)
        else:
            print(f"{self._title} {text}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar:
            self._bar.stop()
