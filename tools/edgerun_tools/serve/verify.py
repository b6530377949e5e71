"""`edgerun verify`: whether a model is what its maker signed."""

from __future__ import annotations

from typing import Annotated

import typer

from edgerun.serve.signing import Verifier
from edgerun_tools import common
from edgerun_tools.common import answers
from edgerun_tools.serve.sign import ModelOrFolder


def command(
    model: ModelOrFolder,
    key: Annotated[list[str], typer.Option("--key", "-k", metavar="MAKER.pem.pub", show_default=False, help=(
        "Public key of a maker (repeatable: one of them has to have signed)."))],
    as_json: common.AsJson = False,
) -> None:
    """Verify the signature of a model or folder; exit code 7 where it does not hold. `edgerun serve --verify-key` does the same at load.

    Examples:

      edgerun verify model.onnx --key maker.pem.pub

      edgerun verify parts/ --key maker.pem.pub --json
    """
    files = Verifier(key)(model)
    if as_json:
        common.print_json({"schema": "edgerun.verify/1", "model": model, "files": {str(p): d for p, d in sorted(files.items())}})
    else:
        answers.print(f"the signature holds: {len(files)} file{'s' * (len(files) != 1)}", markup=False)
