"""Training-time image changes on whole batches (uint8 in, float32 normalised channels-last tensors out)."""
from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


class Normalise:
    """(pixel/255 - mean)/std per channel, as one table look-up's worth of arithmetic: x*a + b."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        m, s = torch.tensor(mean), torch.tensor(std)
        self.a, self.b = (1 / 255 / s).view(1, -1, 1, 1), (-m / s).view(1, -1, 1, 1)

    def __call__(self, x: Tensor) -> Tensor:
        """uint8 or float [N,C,H,W], pixel values 0..255 -> float32 [N,C,H,W]."""
        return torch.addcmul(self.b, x.float(), self.a).contiguous(memory_format=torch.channels_last)


def to_nchw(x: np.ndarray) -> Tensor:
    """uint8 [N,H,W,C] -> a view [N,C,H,W] (channels-last in memory)."""
    return torch.from_numpy(np.array(x, order="C")).permute(0, 3, 1, 2)


def crop_flip(x: np.ndarray, crop: int, pad: int, mirrored: np.ndarray, rng: np.random.Generator) -> Tensor:
    """Random `crop`-pixel windows of the reflect-padded images, some of them mirrored.

    x uint8 [N,H,W,C], mirrored bool [N]; returns uint8 [N,C,crop,crop]."""
    n, h, w, _ = x.shape
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="reflect")
    top, left = rng.integers(0, h + 2 * pad - crop + 1, n), rng.integers(0, w + 2 * pad - crop + 1, n)
    rows = top[:, None] + np.arange(crop)
    cols = left[:, None] + np.arange(crop)
    cols[mirrored] = cols[mirrored, ::-1]
    return to_nchw(x[np.arange(n)[:, None, None], rows[:, :, None], cols[:, None, :]])


def warp(x: np.ndarray, rng: np.random.Generator, degrees: float = 14.0, scale: float = 0.12, shift: float = 2.2,
         elastic: float = 1.3, shear: float = 0.2) -> Tensor:
    """Random rotation (+- degrees), scale (+- share), shear, shift (+- pixels) and a smooth elastic displacement
    (about `elastic` pixels r.m.s., Simard et al. 2003), bilinear, zeros outside.

    x uint8 [N,H,W,C]; returns float32 [N,C,H,W], pixel values 0..255."""
    n, h, w, _ = x.shape
    angle = np.deg2rad(rng.uniform(-degrees, degrees, n))
    sx, sy = 1 + rng.uniform(-scale, scale, n), 1 + rng.uniform(-scale, scale, n)
    slant = rng.uniform(-shear, shear, n)
    theta = np.zeros((n, 2, 3), np.float32)
    theta[:, 0, 0], theta[:, 0, 1] = np.cos(angle) * sx, -np.sin(angle) * sy + slant
    theta[:, 1, 0], theta[:, 1, 1] = np.sin(angle) * sx, np.cos(angle) * sy
    theta[:, 0, 2], theta[:, 1, 2] = rng.uniform(-shift, shift, n) * 2 / w, rng.uniform(-shift, shift, n) * 2 / h
    image = to_nchw(x).float()
    grid = F.affine_grid(torch.from_numpy(theta), list(image.shape), align_corners=False)
    coarse = torch.from_numpy(rng.standard_normal((n, 2, 5, 5)).astype(np.float32))
    field = F.interpolate(coarse, (h, w), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    grid = grid + field * (elastic * 2 / w)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
