"""Images to tensors, as the model's metadata describes it (`edgerun.preprocess`, one JSON object):

    {"layout": "NCHW", "color": "RGB", "size": [32, 32], "resize": "bilinear",
     "scale": 0.00392156862745098, "mean": [0.49, 0.48, 0.45], "std": [0.25, 0.24, 0.26]}

tensor = (pixel · scale − mean) / std per channel, pixels 0..255; `color` RGB, BGR or L (grey);
`resize` bilinear, bicubic, nearest, area (all stretch to `size`) or none (the image must have that size).
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from edgerun.errors import DataError, ModelFormatError

METADATA_KEY = "edgerun.preprocess"
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".webp", ".tif", ".tiff"})
CHANNELS = {"RGB": 3, "BGR": 3, "L": 1}
RESIZE = ("bilinear", "bicubic", "nearest", "area", "none")
MAX_PIXELS = 100_000_000
"""Larger images are refused (decompression bombs)."""
SIXTEEN_BIT = ("PNG", "PPM")
"""Formats whose 16-bit grey Pillow may open in its 32-bit mode, in the range 0..65535."""
NUMBERS = {"I": "32-bit integers", "F": "floating-point numbers"}


@dataclass(frozen=True)
class Preprocess:
    """How an image becomes the model's input; see the head of this module."""

    layout: str
    color: str
    size: tuple[int, int]
    resize: str = "bilinear"
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        legal = {"layout": ("NCHW", "NHWC"), "color": tuple(CHANNELS), "resize": RESIZE}
        for name, values in legal.items():
            if getattr(self, name) not in values:
                raise ModelFormatError(f"{METADATA_KEY}: expected {name} to be one of {', '.join(values)}; found "
                                       f"{getattr(self, name)!r}")
        if len(self.size) != 2 or min(self.size) < 1:
            raise ModelFormatError(f"{METADATA_KEY}: expected size [height, width]; found {list(self.size)}")
        channels = CHANNELS[self.color]
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, channels):
                raise ModelFormatError(f"{METADATA_KEY}: expected 1 or {channels} numbers in {name} for color "
                                       f"{self.color}; found {len(getattr(self, name))}")
        if not all(s != 0 and np.isfinite(s) for s in (*self.std, self.scale)) or not np.isfinite(self.mean).all():
            raise ModelFormatError(f"{METADATA_KEY}: expected finite mean, std and scale, the last two other than 0; found "
                                   f"mean {list(self.mean)}, std {list(self.std)}, scale {self.scale}")

    @classmethod
    def from_json(cls, text: str) -> Preprocess:
        """Read the metadata entry; ModelFormatError when it is not what the head of this module says."""
        try:
            raw = json.loads(text)
            known = {k: raw[k] for k in cls.__dataclass_fields__ if k in raw}
            unknown = sorted(set(raw) - set(known))
            if unknown:
                raise ModelFormatError(f"{METADATA_KEY}: expected the keys {', '.join(cls.__dataclass_fields__)}; "
                                       f"found also {', '.join(unknown)}")
            for key in ("mean", "std"):
                if key in known:
                    known[key] = tuple(float(v) for v in np.atleast_1d(known[key]))
            known["size"] = tuple(int(v) for v in known["size"])
            known["scale"] = float(known.get("scale", 1 / 255))
            return cls(**known)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as e:
            raise ModelFormatError(f"{METADATA_KEY}: expected a JSON object with layout, color, size; found {text[:200]!r} "
                                   f"({e})") from e

    @classmethod
    def of(cls, metadata: Mapping[str, str]) -> Preprocess:
        """The recipe in a model's metadata; ModelFormatError when there is none."""
        if METADATA_KEY not in metadata:
            raise ModelFormatError(f"model metadata: expected an entry {METADATA_KEY} that says how images become "
                                   f"tensors; found {', '.join(sorted(metadata)) or 'none'}")
        return cls.from_json(metadata[METADATA_KEY])

    @classmethod
    def guess(cls, shape: tuple[int | str | None, ...]) -> Preprocess | None:
        """For models that say nothing: pixels 0..1 in the colour and size that an input of this shape can take, or
        None when the shape is not that of one image (symbolic height or width included)."""
        if len(shape) != 4:
            return None
        colors = {1: "L", 3: "RGB"}
        for layout, c, h, w in (("NCHW", 1, 2, 3), ("NHWC", 3, 1, 2)):
            height, width = shape[h], shape[w]
            if isinstance(height, int) and isinstance(width, int) and shape[c] in colors:
                return cls(layout, colors[int(shape[c])], (height, width))  # type: ignore[arg-type]
        return None

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    def apply(self, pixels: np.ndarray, dtype: Any = np.float32) -> np.ndarray:
        """One image, uint8 [H, W] or [H, W, C] (C = 1, 3 RGB, or 4 RGBA), to a tensor [1, …] of `dtype`.

        uint8 inputs receive the pixels unscaled. DataError when the array is no image of that kind.
        """
        a = self._resized(self._colored(np.asarray(pixels)))
        if np.dtype(dtype) == np.uint8:
            x = a
        else:
            # float64 inside: the result is the rounded exact value, whatever the order of the operations
            x = ((a * np.float64(self.scale) - np.array(self.mean)) / np.array(self.std)).astype(dtype)
        if self.layout == "NCHW":
            x = x.transpose(2, 0, 1)
        return np.ascontiguousarray(x[None])

    def _colored(self, a: np.ndarray) -> np.ndarray:
        if a.dtype != np.uint8 or a.ndim not in (2, 3) or (a.ndim == 3 and a.shape[2] not in (1, 3, 4)) or a.size == 0:
            raise DataError(f"image: expected uint8 [H, W], [H, W, 1], [H, W, 3] or [H, W, 4]; found {a.dtype} "
                            f"{list(a.shape)}")
        a = a[..., None] if a.ndim == 2 else a[..., :3]
        if self.color == "L":
            if a.shape[2] == 1:
                return a
            luma = a @ np.array([299, 587, 114], np.int64)  # ITU-R 601, as Pillow's convert("L")
            return ((luma * 65536 // 1000 + 0x8000) >> 16).astype(np.uint8)[..., None]
        a = np.repeat(a, 3, axis=2) if a.shape[2] == 1 else a
        return a[..., ::-1] if self.color == "BGR" else a

    def _resized(self, a: np.ndarray) -> np.ndarray:
        height, width = self.size
        if a.shape[:2] == (height, width):
            return a
        if self.resize == "none":
            raise DataError(f"image: expected {height}x{width} pixels (the model's preprocessing does not resize); "
                            f"found {a.shape[0]}x{a.shape[1]}")
        from PIL import Image

        method = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC,
                  "nearest": Image.Resampling.NEAREST, "area": Image.Resampling.BOX}[self.resize]
        image = Image.fromarray(np.ascontiguousarray(a[..., 0] if a.shape[2] == 1 else a))
        out = np.asarray(image.resize((width, height), method))
        return out[..., None] if out.ndim == 2 else out


def read_image(source: str | PathLike[str] | bytes, name: str = "") -> np.ndarray:
    """Decode a png, jpg … file (or its bytes) to uint8 [H, W, 1] or [H, W, 3]; the camera's rotation is applied.

    DataError names the file and what is wrong with it.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    what = name or ("image" if isinstance(source, bytes) else str(source))
    try:
        if not isinstance(source, bytes) and not Path(source).is_file():
            kind = "a folder" if Path(source).is_dir() else "nothing"
            raise DataError(f"{what}: expected an image file; found {kind}")
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{what}: expected at most {MAX_PIXELS} pixels; found {image.width}x{image.height}")
            turned = ImageOps.exif_transpose(image) or image
            if turned.mode in ("I", "F") and image.format not in SIXTEEN_BIT:
                raise DataError(f"{what}: expected pixels of 8 or 16 bits; found {NUMBERS[turned.mode]}, whose range is "
                                "not known; convert the image")
            if turned.mode.startswith("I"):  # 16-bit grey: keep the high byte
                return (np.asarray(turned).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)[..., None]
            grey = turned.mode in ("1", "L", "LA")
            a = np.asarray(turned.convert("L" if grey else "RGB"))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as e:
        if isinstance(e, DataError):
            raise
        raise DataError(f"{what}: expected a readable image ({', '.join(sorted(IMAGE_SUFFIXES))}); found: {e}") from e
    return a[..., None] if a.ndim == 2 else a
