"""What MAED's published checks and ours see of the paper's eight fault models: `python -m edgerun_tools.maed_faults --help`.

    terms   faults in the terms of the exponential of sigmoid, tanh and exp, and false alarms on clean operands
    relu    faults in the result of relu: idempotence, and ours
    engine  faults in the result of every activation, armed in the C++ engine

Shares come with exact (Clopper-Pearson) 95 % intervals; those need SciPy, extra `campaign`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edgerun_tools import common
from edgerun_tools.maed_page import markdown
from edgerun_tools.maed_rows import PARTS, measure, to_dict


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m edgerun_tools.maed_faults", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000, help="faults a cell; ten times as many clean operands and ReLU faults")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=PARTS, action="append", help="this part (repeatable); default all")
    parser.add_argument("--json", action="store_true", help="JSON lines on stdout instead of the page")
    parser.add_argument("--write", type=Path, metavar="FILE.md", help="write the page there (docs/maed-faults.md)")
    options = parser.parse_args(argv)
    if options.trials < 1 or options.seed < 0:
        parser.error(f"--trials, --seed: expected at least 1 and 0; found {options.trials} and {options.seed}")
    rows = []
    for row in measure(options.only or PARTS, options.trials, options.seed):
        rows.append(row)
        if options.json:
            common.print_json(to_dict(row))
    words = "".join(f" --{k} {v}" for k, v in (("trials", options.trials), ("seed", options.seed)) if v != parser.get_default(k))
    words += "".join(f" --only {p}" for p in options.only or ())
    page = markdown(rows, options.trials, words)
    if options.write:
        options.write.write_text(page, encoding="utf-8")
    elif not options.json:
        print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
