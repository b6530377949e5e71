"""A process that runs batches of faults, and its handle.

`python -m edgerun_tools.faults.worker BUNDLE` reads batches of faults (one JSON line each) from stdin and answers one line each.
It has one thread, so it may fork (`isolate`); it ends when stdin does, so it never outlives the process that started it, kill -9 included.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgerun import errors
from edgerun.errors import EdgeRunError
from edgerun_tools.faults.models import Planned


class Worker:
    """A worker process. Not thread-safe. EdgeRunError where it cannot begin, or dies."""

    def __init__(self, bundle: Path) -> None:
        roots = [str(Path(__file__).parents[2]), *sys.path]  # where this package and its dependencies were found
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in roots if p)}
        command = [sys.executable, "-m", "edgerun_tools.faults.worker", str(bundle)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self.digest = str(self._read()["digest"])

    def run(self, faults: Sequence[Planned]) -> list[dict[str, Any]]:
        """See Bench.run."""
        return self._ask("run", faults)

    def damage(self, faults: Sequence[Planned]) -> list[float]:
        """See Bench.damage."""
        return self._ask("damage", faults)

    def close(self) -> None:
        """End the process, in the middle of a batch too."""
        self._process.kill()
        self._process.communicate()

    def _ask(self, what: str, faults: Sequence[Planned]) -> list[Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps([what, [f.to_dict() for f in faults]]).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            pass  # it ended: reading says how
        results: list[Any] = self._read()["results"]
        return results

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise EdgeRunError("fault-injection worker: expected an answer, found that it ended with code "
                               f"{self._process.wait()}; its words are above")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            self._process.wait()
            raise getattr(errors, answer["kind"])(answer["error"])
        return answer


@contextmanager
def started(bundle: bytes) -> Iterator[Worker]:
    """A worker for a packed bundle, which is not kept."""
    with tempfile.NamedTemporaryFile(prefix="edgerun-campaign-", suffix=".npz") as file:
        file.write(bundle)
        file.flush()
        worker = Worker(Path(file.name))  # it has read the file when it is there
    try:
        yield worker
    finally:
        worker.close()


def main(path: str) -> None:
    """Serve until stdin ends."""
    from edgerun_tools.faults.bundle import Bench, Bundle

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the business of who started this
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is not an answer

    def say(value: dict[str, Any]) -> None:
        answers.write(json.dumps(value).encode() + b"\n")
        answers.flush()

    try:
        bench = Bench(Bundle.unpack(Path(path).read_bytes()))
    except EdgeRunError as e:
        say({"error": str(e), "kind": type(e).__name__})
        return
    gc.collect()
    gc.freeze()  # forks share what is there
    say({"digest": bench.digest})
    for line in sys.stdin.buffer:
        what, faults = json.loads(line)
        asked: Callable[[list[Planned]], list[Any]] = bench.run if what == "run" else bench.damage
        results = asked([Planned(**f) for f in faults])
        try:
            say({"results": results})
        except BrokenPipeError:  # nobody is there any more
            os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
