"""`edgerun compare`: the first layer whose result differs from another runtime's, and by how much."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Annotated, Any

import typer

from edgerun import Session
from edgerun.errors import InputError, OptionError
from edgerun.feeds import Sample, read_samples
from edgerun_tools import common
from edgerun_tools.compare_inputs import probe
from edgerun_tools.compare_layers import Report, layers
from edgerun_tools.compare_numbers import STEPS, TOLERANCE, Bounds, grains_of
from edgerun_tools.compare_report import show, to_dict
from edgerun_tools.compare_sides import Feeds, OnnxRuntime, Ours, Reference, Side, uncalibrated
from edgerun_tools.defined import defined

DIFFERS = 1
"""Exit code when a difference is larger than what is accepted."""
CUT = ("ort", "reference")
"""What can go on from our tensors: ours cannot, since further inputs would change the plan."""
OTHERS = (*CUT, "python")


def command(
    model: common.Model,
    other: Annotated[str, typer.Option("--with", metavar="ort|reference|python|FILE.onnx", help=(
        "ort: ONNX Runtime; reference: onnx.reference; python: our Python executor; a file: our run of that model, "
        "tensors matched by name."))] = "ort",
    input: Annotated[list[str] | None, typer.Option("--input", "-i", metavar="FILE|DIR|-|NAME=FILE", show_default=(
        "random numbers"), help="As of edgerun run (repeatable).")] = None,
    runs: Annotated[int | None, typer.Option("--runs", "-n", min=1, show_default="1, or all of --input", help=(
        "Inputs to try: random ones with seeds from --seed on, or the first of --input."))] = None,
    tolerance: Annotated[float, typer.Option("--tolerance", min=0, help=(
        "Accepted difference of floating-point tensors, relative to the tensor's largest magnitude (or 0.01)."))] = TOLERANCE,
    steps: Annotated[int, typer.Option("--steps", min=0, help="Accepted difference of 8-bit tensors, in steps.")] = STEPS,
    ort_optimized: Annotated[bool, typer.Option("--ort-optimized", help=(
        "Leave ONNX Runtime's graph optimisations on, and its 8-bit kernels (they do not cross the tensors compared)."))] = False,
    isolate: Annotated[bool | None, typer.Option("--isolate/--no-isolate", show_default="on for 8-bit models", help=(
        "ort, reference: every layer goes on from our tensors, so that differences do not add up."))] = None,
    threads: common.Threads = None,
    executor: common.Executor = "auto",
    as_json: common.AsJson = False,
    seed: common.Seed = 0,
    shape: common.Shape = None,
    strict: common.Strict = False,
    max_memory: common.MaxMemory = None,
    timeout: common.Timeout = None,
    bound: common.Bound = None,
) -> None:
    """Find the first layer whose result differs, and by how much.

    Compared are the model's outputs as every run computes them, then all tensors that lie between two steps of our plan
    (edgerun inspect shows it). Tensors inside of a fused step, as between Conv and Relu, are not asked for: that would
    undo the fusion, and a fault in it would be gone. So each row is a whole step, and the plan is verified to be the
    same, with the tensors handed out as without. The other runtime computes the same tensors by their ONNX names, with
    its graph optimisations off; ONNX Runtime then computes quantised operators in float32, since its 8-bit kernels can
    saturate (--ort-optimized: as its users run it). Early exits are not taken.

    Differences add up from layer to layer, in models that round to 8 bits to several steps. With --isolate every layer
    of ort or reference goes on from our tensors instead of its own, and is compared by itself.

    A random input is made of pixels where the model says how images are prepared, spans the range of a QuantizeLinear
    that reads it, or is uniform in [0, 1). Exit code 1: something differs by more than its bound; 0: nothing does.
    JSON schema: "edgerun.compare/1".

    Examples:

      edgerun compare model.onnx --with ort

      edgerun compare model.onnx --with reference --input photos/ --runs 5

      edgerun compare mine.onnx --with original.onnx --tolerance 0 --json
    """
    if other not in OTHERS and not os.path.isfile(other):
        raise OptionError(f"--with: expected {', '.join(OTHERS)} or an ONNX file; found {other!r}")
    if isolate and other not in CUT:
        raise OptionError(f"--isolate: expected --with ort or reference, which can take tensors of ours; found {other!r}")
    options: dict[str, Any] = {"threads": threads, "executor": executor, "strict": strict, "tune": False,
                               **common.bounds(max_memory, timeout, bound)}
    source = uncalibrated(model, options)
    with Session(source, shapes=common.parse_shapes(shape), **options) as session:
        samples = _samples(session, input, runs, seed)
        feeds = [s.feeds for s in samples]
        ours = Ours(session, "edgerun", options, feeds[0])
        bounds = Bounds(tolerance, steps, grains_of(session.proto.graph))
        apart = bool(bounds.grains) and other in CUT if isolate is None else isolate
        with _other(other, source, ours, options, feeds[0], apart, ort_optimized) as theirs:
            report = Report(model, ours, theirs.label, [s.source for s in samples], bounds, apart)
            layers(report, theirs, feeds)
        if as_json:
            common.print_json(to_dict(report))
        else:
            show(report)
    if report.first is not None:
        raise typer.Exit(DIFFERS)
    if ours.findings:
        raise typer.Exit(common.FAULT_FOUND)


def _samples(session: Session, specs: Sequence[str] | None, runs: int | None, seed: int) -> list[Sample]:
    """Inputs of one shape. InputError, DataError."""
    if not specs:
        return [Sample(*probe(session, seed + k)) for k in range(runs or 1)]
    found: list[Sample] = []
    for sample in islice(read_samples(specs, session.inputs, session.preprocess), runs):
        with common.naming(sample.source):
            arrays = session.check(sample.feeds)
            feeds = {i.name: x for i, x in zip(session.inputs, arrays, strict=True)}
            for name, x in feeds.items():
                if found and x.shape != found[0].feeds[name].shape:
                    raise InputError(f"compare: expected inputs of one shape, {name} {list(found[0].feeds[name].shape)}; "
                                     f"found {list(x.shape)}; compare them in calls of their own")
        found.append(Sample(sample.source, feeds))
    return found


@contextmanager
def _other(name: str, source: str | bytes, ours: Ours, options: dict[str, Any], feeds: Feeds, isolate: bool,
           optimized: bool) -> Iterator[Side]:
    """The other side, closed afterwards. OptionError where it would be the same as ours."""
    session = ours.session
    cut = ours.types if isolate else None
    if name == "ort":
        yield OnnxRuntime(session.proto if optimized else defined(session.proto), cut, session.threads, optimized)
    elif name == "reference":
        yield Reference(session.proto, cut)
    elif name == "python":
        if session.executor_name == "python":
            raise OptionError("compare --with python: expected the C++ engine on our side; found that the Python executor "
                              "runs the model there too; compare with ort or reference")
        own = {**options, "executor": "python"}
        with Session(source, **own, shapes={n: x.shape for n, x in feeds.items()}) as second:
            yield Ours(second, "the Python executor", own, feeds)
    else:
        with Session(uncalibrated(name, options), **options) as second:
            with common.naming(name):
                side = Ours(second, f"edgerun on {name}", options, feeds)
            yield side
