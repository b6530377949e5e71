"""Weights in other files: paths out of the folder, files that are none, offsets and lengths beyond the end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import onnx

from .case import Build, Case, counted
from .models import add, raw, tensor
from .paths import device, fifo, made

FAMILY = "external"
DATA = raw(1, 2, 3, 4)
Prepare = Callable[[Path], object]


def external(entries: dict[str, object], dims: tuple[int, ...] = (4,)) -> onnx.ModelProto:
    """x + w, where w lies elsewhere."""
    weight = tensor(dims, data_location=onnx.TensorProto.EXTERNAL)
    for key, value in entries.items():
        weight.external_data.add(key=key, value=str(value))
    return add(weight)


def _build(prepare: Prepare | None, entries: dict[str, object]) -> Build:
    """Write folder/outside.bin, and the model and w.bin into folder/in; `prepare`, if given, makes w.bin instead."""

    def build(folder: Path) -> Path:
        inside = folder / "in"
        inside.mkdir()
        (folder / "outside.bin").write_bytes(DATA)
        (inside / "w.bin").write_bytes(DATA)
        if prepare is not None:
            (inside / "w.bin").unlink()
            prepare(inside)
        (inside / "model.onnx").write_bytes(external(entries).SerializeToString())
        return inside / "model.onnx"

    return build


def _case(name: str, what: str, prepare: Prepare | None = None, location: object = "w.bin", **more: object) -> Case:
    return Case(f"external-{name}", FAMILY, what, _build(prepare, {"location": location, **more}))


def _absolute(folder: Path) -> Path:
    target = folder / "w.bin"
    target.write_bytes(DATA)
    path = folder / "model.onnx"
    path.write_bytes(external({"location": target}).SerializeToString())
    return path


def _linked(target: str) -> Prepare:
    return lambda inside: made(lambda: (inside / "w.bin").symlink_to(target), "a symbolic link")


def _linked_folder(target: str) -> Prepare:
    return lambda inside: made(lambda: (inside / "sub").symlink_to(target), "a symbolic link")


def _hard(inside: Path) -> None:
    made(lambda: os.link(inside.parent / "outside.bin", inside / "w.bin"), "a hard link")


def _devices(inside: Path) -> None:
    device("/dev/zero")
    _linked_folder("/dev")(inside)


def _sparse(inside: Path) -> None:
    with (inside / "w.bin").open("wb") as file:
        made(lambda: file.truncate(8 << 30), "a sparse file of 8 GiB")


def _relative_link(folder: Path) -> Path:
    made(lambda: (folder / "w.bin").symlink_to(Path("elsewhere") / "w.bin"), "a symbolic link")
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "w.bin").write_bytes(DATA)
    (folder / "model.onnx").write_bytes(external({"location": "w.bin"}).SerializeToString())
    return Path("model.onnx")


CASES = (
    _case("above", "A path that climbs out of the model's folder.", location="../outside.bin"),
    _case("climbs", "A path that climbs up to the root.", location="../" * 40 + "etc/hostname"),
    _case("down-and-up", "A path that climbs out after a step down.", lambda inside: (inside / "sub").mkdir(),
          "sub/../../outside.bin"),
    Case("external-absolute", FAMILY, "An absolute path.", _absolute),
    Case("external-link-of-relative-model", FAMILY, "The model is given by its bare name, and the weights are a link.",
         _relative_link),
    _case("missing", "A file that does not exist.", lambda inside: None),
    _case("no-location", "No path at all.", location=""),
    _case("zero-byte", "A path with a zero byte.", location="w.bin\0.txt"),
    _case("long-path", "A path of 100,000 characters.", location="a/" * 50_000),
    _case("link", "A symbolic link out of the folder.", _linked("../outside.bin")),
    _case("hard-link", "A hard link to a file out of the folder.", _hard),
    _case("linked-parent", "The folder of the weights is a symbolic link.", _linked_folder(".."), "sub/outside.bin"),
    _case("device-by-parent", "/dev by a symbolic link to it.", _devices, "sub/zero", length=16),
    _case("device", "A device file.", lambda inside: device("/dev/zero"), "/dev/zero", length=16),
    _case("fifo", "A named pipe; who opens it waits for ever.", lambda inside: fifo(inside / "w.bin")),
    _case("folder", "A folder.", lambda inside: (inside / "w.bin").mkdir()),
    _case("short", "A file with half of the data.", lambda inside: (inside / "w.bin").write_bytes(DATA[:8])),
    _case("8-gib", "A sparse file of 8 GiB, and no length.", _sparse),
    _case("offset-negative", "A negative offset.", offset=-8, length=16),
    _case("offset-2-63", "An offset just below 2^63, to which adding the length wraps around.",
          offset=(1 << 63) - 8, length=16),
    _case("offset-2-70", "An offset that needs 70 bits.", offset=1 << 70, length=16),
    _case("offset-text", "An offset that is no number.", offset="abc", length=16),
    _case("offset-digits", "An offset of 10,000 digits.", offset="9" * 10_000, length=16),
    _case("length-negative", "A negative length, which some readers take for 'all'.", offset=0, length=-1),
    _case("length-2-60", "A length of 2^60.", offset=0, length=1 << 60),
    _case("length-wrong", "A length that is not that of the tensor.", offset=0, length=12),
    Case("external-unknown-key", FAMILY, "A key that sets an attribute of careless readers.", _build(
        None, {"location": "w.bin", "offset": 0, "length": 16, "__class__": "x"}), "either", counted),
)
