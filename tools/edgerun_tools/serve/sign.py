"""`edgerun sign`: a model, or a folder, with the name of its maker under it."""

from __future__ import annotations

from typing import Annotated

import typer

from edgerun.serve import signing
from edgerun_tools import common
from edgerun_tools.common import answers

ModelOrFolder = Annotated[str, typer.Argument(metavar="MODEL|FOLDER", show_default=False, help=(
    "An ONNX file, or a folder of `edgerun split`."))]


def command(
    model: ModelOrFolder,
    key: Annotated[str, typer.Option("--key", "-k", metavar="MAKER.pem", show_default=False, help=(
        "Private key (P-256, P-384 or P-521); `edgerun keys maker` makes one."))],
    as_json: common.AsJson = False,
) -> None:
    """Sign a file, or every file of a folder, with the OpenSSF package model-signing.

    Examples:

      edgerun keys maker -o maker.pem

      edgerun sign model.onnx --key maker.pem              writes model.onnx.sig

      edgerun sign parts/ --key maker.pem                  writes parts/model.sig
    """
    signature = signing.sign(model, key)
    if as_json:
        common.print_json({"schema": "edgerun.sign/1", "model": model, "signature": str(signature)})
    else:
        answers.print(f"signed: {signature}", markup=False)
