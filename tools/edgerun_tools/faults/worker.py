"""A process that runs batches of faults, and its handle.

`python -m edgerun_tools.faults.worker BUNDLE` opens the sessions once and forks for every batch; the fork reads the batch, answers a line a
trial and ends. So every batch begins with the same memory, whatever ran before, and where the system lets us turn address randomisation
off, with the same addresses: a wild access of a struck parameter ends alike in every worker. The process ends when its input does,
so it never outlives who started it, kill -9 included.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edgerun import errors
from edgerun.errors import EdgeRunError
from edgerun.executors.base import MEMORY_SITES
from edgerun_tools.faults import isolate
from edgerun_tools.faults.bundle import Bench, Bundle, assemble, lost
from edgerun_tools.faults.models import Planned

KEPT = ("EDGERUN_ISA", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "PATH", "TMPDIR")
"""What a worker gets of the environment: it is in memory, too."""
NO_RANDOM_ADDRESSES = 0x0040000
"""ADDR_NO_RANDOMIZE of <sys/personality.h>."""
WARM = 3
"""Empty batches before the first one: after them the process looks the same before every batch."""
Trial = tuple[Planned, str]


class Worker:
    """A worker process. Not thread-safe. EdgeRunError where it cannot begin, or dies.

    digest: of its clean answers (Bench); fixed: whether its addresses are those of every other worker."""

    def __init__(self, bundle: Path) -> None:
        roots = [str(Path(__file__).parents[2]), *sys.path]  # where this package and its dependencies were found
        environment = {k: v for k, v in os.environ.items() if k in KEPT}
        environment |= {"PYTHONPATH": os.pathsep.join(dict.fromkeys(os.path.abspath(p) for p in roots if p)), "PYTHONHASHSEED": "0"}
        self._process = subprocess.Popen([sys.executable, "-m", "edgerun_tools.faults.worker", str(bundle)], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, env=environment, bufsize=0)
        assert self._process.stdout is not None and self._process.stdin is not None
        self._lines, self._input = isolate.Lines(self._process.stdout.fileno()), self._process.stdin.fileno()
        told = self._next()
        self.digest, self.fixed = str(told["digest"]), bool(told["fixed"])
        self._presets, self._limit = list(told["presets"]), float(told["limit"])
        for _ in range(WARM):
            self._attempt("trial", [])

    def run(self, faults: Sequence[Planned]) -> list[dict[str, Any]]:
        """One result a fault, see `bundle.assemble`. Faults in memory share a fork with no other. Those in parameters may make a kernel
        write to wild addresses, also into the session of another preset, and so have one for each."""
        trials = [(f, name) for f in faults for name in self._presets]
        calm = [t for t in trials if t[0].site not in MEMORY_SITES]
        wild = [[t] for t in trials if t[0].site == "params"]
        batches = [calm, *wild, *([t for t in trials if t[0] is f] for f in faults if f.site in MEMORY_SITES and f.site != "params")]
        found: dict[Trial, dict[str, Any]] = {}
        for batch in batches:
            found |= zip(batch, isolate.run(batch, lambda items: self._attempt("trial", items), lost), strict=True)
        return [assemble(f, {name: found[f, name] for name in self._presets}) for f in faults]

    def damage(self, faults: Sequence[Planned]) -> list[float]:
        """What each fault does, see Bench.damage."""
        rows = isolate.run(faults, lambda items: self._attempt("damage", [(f, "") for f in items]), lambda *_: {"damage": float("inf")})
        return [row["damage"] for row in rows]

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _attempt(self, what: str, items: Sequence[Trial]) -> tuple[list[dict[str, Any]], str]:
        try:
            isolate.say(self._input, {"what": what, "items": [[f.to_dict(), name] for f, name in items]})
        except OSError:
            pass  # it ended: reading says how
        fork = self._next()["fork"]
        lines = list(self._lines.until_end(isolate.patience(self._limit, len(items))))
        if lines and lines[-1] == {"end": isolate.HANG}:
            with suppress(ProcessLookupError):
                os.kill(fork, signal.SIGKILL)
        last = lines.pop() if lines and "status" in lines[-1] else None
        while last is None or "status" not in last:
            last = self._next()
        return isolate.ended(lines, last["status"])

    def _next(self) -> dict[str, Any]:
        """The next line, however long it takes."""
        answer = self._lines.next()
        if not answer:
            raise EdgeRunError(f"fault-injection worker: expected an answer, found that it ended with code {self._process.wait()}; its "
                               "words are above")
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
    fixed = _fix_addresses()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the business of who started this
    answers = os.dup(1)
    os.dup2(2, 1)  # what libraries print is not an answer
    try:
        bench = Bench(Bundle.unpack(Path(path).read_bytes()))
    except EdgeRunError as e:
        isolate.say(answers, {"error": str(e), "kind": type(e).__name__})
        return
    gc.collect()
    gc.freeze()  # forks share what is there
    gc.disable()
    isolate.say(answers, {"digest": bench.digest, "fixed": fixed, "presets": list(bench.targets), "limit": bench.limit})
    waiting = select.poll()
    waiting.register(0, select.POLLIN)
    while waiting.poll()[0][1] & select.POLLIN:
        fork = os.fork()
        if fork == 0:
            _serve(bench, answers)
        status = os.waitpid(fork, 0)[1]
        try:
            os.write(answers, b'\n{"status": %d}\n' % status)
        except OSError:  # nobody is there any more
            return


def _serve(bench: Bench, answers: int) -> None:
    """In the fork: read the batch, do it, end."""
    asked: list[Any] = []

    def items() -> Iterator[Trial]:
        told = b""
        while not told.endswith(b"\n"):
            told += os.read(0, 1 << 16)
        value = json.loads(told)
        isolate.say(answers, {"fork": os.getpid()})
        seconds = int(bench.limit * isolate.ALONE * (len(value["items"]) + 1)) + 10
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))  # where nobody is left to end it
        asked.append(value["what"])
        for fault, name in value["items"]:
            asked.append(name)
            yield Planned(**fault), name

    def work(item: Trial) -> dict[str, Any]:
        does: Callable[[Planned, str], dict[str, Any]] = bench.damage if asked[0] == "damage" else bench.trial
        return does(*item)

    isolate.in_fork(items, work, lambda: bench.sound(asked[1:]), answers)


def _fix_addresses() -> bool:
    """Start over without address randomisation; False where the system does not let us (some containers)."""
    try:
        personality = ctypes.CDLL(None, use_errno=True).personality
    except (OSError, AttributeError):
        return False
    now = personality(0xFFFFFFFF)
    if now < 0:
        return False
    if now & NO_RANDOM_ADDRESSES:
        return True
    if personality(now | NO_RANDOM_ADDRESSES) < 0 or not personality(0xFFFFFFFF) & NO_RANDOM_ADDRESSES:
        return False
    os.execv(sys.executable, [sys.executable, "-m", "edgerun_tools.faults.worker", *sys.argv[1:]])


if __name__ == "__main__":
    main(sys.argv[1])
