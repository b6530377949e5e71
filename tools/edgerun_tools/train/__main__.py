"""``python -m edgerun_tools.train RECIPE``: train a zoo model, export it, and write its card."""
from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and run; returns the process's exit code."""
    p = argparse.ArgumentParser(prog="python -m edgerun_tools.train", description=__doc__)
    p.add_argument("recipe", choices=["mnist_alexnet", "cifar10_resnet18", "cifar10_alexnet", "cifar10_vgg", "cifar10_mobilenet",
                                      "digits_mlp"])
    p.add_argument("--data", type=Path, help="folder that holds sets/ (default: $EDGERUN_DATA, else ../shared/data)")
    p.add_argument("--epochs", type=int, help="about this many, every cycle of the recipe shortened in proportion")
    p.add_argument("--out", type=Path, default=Path("models/zoo"), help="the zoo; default %(default)s")
    p.add_argument("--work", type=Path, default=Path("build/train"), help="checkpoints; default %(default)s")
    p.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --work")
    p.add_argument("--export-only", action="store_true", help="export the last checkpoint as it is, without training")
    a = p.parse_args(argv)
    try:
        import torch  # noqa: F401
    except ImportError:
        print("training needs PyTorch: pip install 'edgerun[train]'", file=sys.stderr)
        return 2
    from edgerun.errors import DataError
    from edgerun_tools import data
    from edgerun_tools.train import loop, recipes
    recipe = recipes.RECIPES[a.recipe]
    if a.epochs:
        recipe = recipe.shortened(a.epochs)
    a.work.mkdir(parents=True, exist_ok=True)
    try:
        splits = recipe.read(a.data or data.data_root(), a.work)
    except DataError as e:
        print(f"error: {e}", file=sys.stderr)
        return 4
    if a.export_only:
        net, history = loop.restore(recipe, a.work)
    else:
        began = time.time()
        net, history = loop.train(recipe, splits, a.work, a.resume)
        print(f"{recipe.name}: trained in {time.time() - began:.0f} s")
    from edgerun_tools.train import publish
    for line in publish.publish(recipe, net, splits, history, a.out):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
