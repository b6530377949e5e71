"""The digits perceptron as firmware of an ATmega328P: which forms of it, and pictures to run them on."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgerun import Session
from edgerun_tools import data
from edgerun_tools.boards import results, runner
from edgerun_tools.codegen.command import codegen
from edgerun_tools.integers import bare
from edgerun_tools.quantize import quantize
from edgerun_tools.quantize_ort import Settings

Array = np.ndarray[Any, Any]
BOARD, TARGET = "atmega328p", "avr-atmega328p"
MODEL = Path("digits_mlp") / "model.onnx"
SETTINGS = Settings(activations="uint8", per_channel=False)
SHAPE = (1, 1, 8, 8)


@dataclass(frozen=True)
class Net:
    """One form of the network. pixels: whether it takes the pixels' bytes, else float32 as the model's metadata say."""

    name: str
    path: Path
    pixels: bool

    def feeds(self, images: Array) -> Array:
        """uint8 [N,8,8,1] → what the board takes, [N,1,1,8,8]."""
        x = images.reshape(-1, *SHAPE)
        return x if self.pixels else x.astype(np.float32) * np.float32(1 / 255)

    def generate(self, folder: Path, checks: str) -> Path:
        """C in a folder below `folder`."""
        out = folder / f"{self.path.stem}_{checks}"
        codegen(str(self.path), str(out), target_name=TARGET, prefix="net", checks=checks, shapes={"image": SHAPE})
        return out

    def truth(self, images: Array) -> Array:
        """The engine's answers, [N,1,10]."""
        with Session(self.path, checks="off", threads=1, shapes={"image": SHAPE}) as session:
            return np.stack([np.asarray(session.run_raw([x]).outputs[0]) for x in self.feeds(images)])


def nets(zoo: Path, folder: Path) -> list[Net]:
    """int8 from pixels to integers, the same with float32 at both ends, and float32. Quantised on the calibration images."""
    x, y, _ = data.digits("calibration")
    with tempfile.TemporaryDirectory() as place:
        images = Path(place) / "digits.npz"
        np.savez(images, x=x, y=y)
        quantize(str(zoo / MODEL), str(folder / "int8_float.onnx"), str(images), settings=SETTINGS)
    integers, _ = bare(onnx.load(folder / "int8_float.onnx"))
    onnx.save(integers, folder / "int8.onnx")
    return [Net("int8", folder / "int8.onnx", True), Net("int8, float32 at its ends", folder / "int8_float.onnx", False),
            Net("float32", zoo / MODEL, False)]


def moved(count: int, seed: int = 1) -> Array:
    """`count` different pictures: all 1,797 digits, then a seeded choice of these moved by a pixel in the 8 directions."""
    x = data.digits()[0]
    shifts = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    others = np.concatenate([padded[:, 1 + i:9 + i, 1 + j:9 + j] for i, j in shifts])
    chosen = np.random.default_rng(seed).permutation(len(others))[:max(0, count - len(x))]
    return np.concatenate([x, others[np.sort(chosen)]])[:count]


def run(net: Net, firmware: Path, images: Array, work: Path, image: Any = None) -> results.Results:
    """All pictures through one firmware."""
    return runner.run(firmware, BOARD, net.feeds(images), keep=work, image=image)
