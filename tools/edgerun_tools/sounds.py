"""Recorded sounds as the inputs of MLPerf Tiny's audio networks: log-mel spectra of real speech.

The recordings are those of Debian's package pocketsphinx-testdata (readings from LibriVox, playing cards, 16 kHz), or any folder of
16 kHz mono .wav files (EDGERUN_SOUNDS). No data set of the benchmark itself is at hand: these are real signals to compare numerics on, and
say nothing about accuracy.

    strww   40 mel bands x 30 frames; window 1024, step 512 samples; pre-emphasis 1 - 2^-5, Hamming, |FFT|^2 / 1024;
            (10 log10(mel) + 52) / 64 cut to [0, 1]                                 (mlcommons/tiny, streaming_wakeword: its training set)
    ad01    128 mel bands x 5 frames after one another; window 1024, step 512; Hann, |FFT|^2; 10 log10(mel), in dB
                                                                                    (DCASE 2020 task 2, baseline)
"""

from __future__ import annotations

import os
import wave
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from edgerun.errors import DataError

Array = np.ndarray[Any, Any]
RATE, WINDOW, STEP = 16_000, 1024, 512
DEBIAN = "/usr/share/pocketsphinx/test/data"
LEAST = 1e-30


def folder() -> Path:
    """Where the recordings are looked for."""
    return Path(os.environ.get("EDGERUN_SOUNDS", DEBIAN))


def present() -> bool:
    """Whether there are any."""
    return any(folder().rglob("*.wav")) if folder().is_dir() else False


@cache
def recordings(where: Path) -> tuple[Array, ...]:
    """The signals, float32 in [-1, 1), files in the order of their names. DataError for other formats."""
    found = []
    for path in sorted(where.rglob("*.wav")):
        try:
            with wave.open(str(path), "rb") as file:
                form = (file.getframerate(), file.getnchannels(), file.getsampwidth())
                data = file.readframes(file.getnframes())
        except (OSError, EOFError, wave.Error) as e:
            raise DataError(f"{path}: expected a WAV file; found: {e}") from e
        if form != (RATE, 1, 2):
            raise DataError(f"{path}: expected 16,000 samples a second, mono, 16 bit; found {form[0]}, {form[1]} channel(s), {8 * form[2]}")
        found.append(np.frombuffer(data, "<i2").astype(np.float32) / 32768)
    if not found:
        raise DataError(f"{where}: expected 16 kHz .wav files (Debian: apt install pocketsphinx-testdata); found none")
    return tuple(found)


def mel_bands(count: int) -> Array:
    """[WINDOW // 2 + 1, count] triangles over 0 to 8 kHz, evenly spaced in mel = 1127 ln(1 + f / 700)."""
    edges = np.linspace(0.0, 1127 * np.log1p(RATE / 2 / 700), count + 2)
    mel = 1127 * np.log1p(np.linspace(0, RATE / 2, WINDOW // 2 + 1)[:, None] / 700)
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    bands: Array = np.clip(np.minimum((mel - low) / (middle - low), (high - mel) / (high - middle)), 0, None)
    bands[0] = 0  # no constant part
    return bands


def spectra(signal: Array, window: Array) -> Array:
    """[frames, WINDOW // 2 + 1] power."""
    frames = np.lib.stride_tricks.sliding_window_view(signal.astype(np.float64), WINDOW)[::STEP]
    power: Array = np.abs(np.fft.rfft(frames * window)) ** 2
    return power


def wake_word(signal: Array) -> Array:
    """[30, 40] float32 in [0, 1] of the first second."""
    x = signal[:RATE] / max(float(np.abs(signal[:RATE]).max()), 1e-6)
    x = np.pad(x, (0, RATE - len(x)))
    x = x - (1 - 2.0 ** -5) * np.concatenate([np.zeros(1), x[:-1]])
    mel = spectra(x, np.hamming(WINDOW)) / WINDOW @ mel_bands(40)
    found: Array = np.clip((10 * np.log10(np.maximum(mel, LEAST)) + 52) / 64, 0, 1).astype(np.float32)
    return found


def anomaly(signal: Array) -> Array:
    """[640] float32, dB, of the first five frames."""
    mel = spectra(signal[:WINDOW + 4 * STEP], np.hanning(WINDOW + 1)[:-1]) @ mel_bands(128)
    found: Array = (10 * np.log10(mel + np.finfo(np.float64).eps)).astype(np.float32).reshape(-1)
    return found


def pieces(seconds: float) -> list[Array]:
    """All recordings cut into pieces that long; rests are left out. DataError as `recordings`."""
    size = int(seconds * RATE)
    return [signal[k:k + size] for signal in recordings(folder()) for k in range(0, len(signal) - size + 1, size)]
