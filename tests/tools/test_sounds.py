"""Recordings as inputs: spectra of known signals, files that are refused, real speech through the networks."""

from __future__ import annotations

import os
import wave
from pathlib import Path

import numpy as np
import pytest

from edgerun import Session
from edgerun.errors import DataError
from edgerun_tools import sounds
from edgerun_tools.models_inputs import inputs_of

DATA = (Path(__file__).parents[2] / os.environ.get("EDGERUN_DATA", "../shared/data")).resolve()


def tone(hertz: float, seconds: float = 1.0) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * sounds.RATE)) / sounds.RATE).astype(np.float32)


def write(path: Path, signal: np.ndarray, rate: int = sounds.RATE, channels: int = 1) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((signal * 32767).astype("<i2").tobytes())


@pytest.mark.parametrize("hertz", [500.0, 1000.0, 3000.0, 6000.0])
def test_a_tone_lands_in_its_band(hertz):
    centres = 700 * np.expm1(np.linspace(0, 1127 * np.log1p(8000 / 700), 42)[1:-1] / 1127)
    found = sounds.wake_word(tone(hertz))
    assert found.shape == (30, 40)
    assert found.dtype == np.float32
    assert 0 <= found.min()
    assert found.max() <= 1
    assert abs(int(found[10].argmax()) - int(np.abs(centres - hertz).argmin())) <= 1


def test_decibels_follow_the_amplitude():
    loud, soft = sounds.anomaly(tone(1000.0)), sounds.anomaly(tone(1000.0) / 10)
    assert loud.shape == (640,)
    peak = int(loud[:128].argmax())
    assert loud[peak] - soft[peak] == pytest.approx(20, abs=1e-3)


def test_files_are_cut_into_pieces(tmp_path, monkeypatch):
    write(tmp_path / "a.wav", tone(440, 2.5))
    monkeypatch.setenv("EDGERUN_SOUNDS", str(tmp_path))
    found = sounds.pieces(1.0)
    assert [len(p) for p in found] == [sounds.RATE] * 2
    np.testing.assert_allclose(found[0], tone(440), atol=1e-4)


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16000, 2)])
def test_other_formats_are_refused(rate, channels, tmp_path):
    write(tmp_path / "a.wav", tone(440), rate, channels)
    with pytest.raises(DataError, match="expected 16,000 samples a second, mono, 16 bit; found"):
        sounds.recordings(tmp_path)


def test_what_is_no_wav_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"expected 16 kHz \.wav files"):
        sounds.recordings(tmp_path)
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    with pytest.raises(DataError, match="expected a WAV file"):
        sounds.recordings(tmp_path)


@pytest.mark.parametrize("name", ["mlperf_strww_fp32", "mlperf_strww_int8qdq"])
def test_speech_without_the_wake_word(name):
    if not sounds.present():
        pytest.skip("no recordings (apt install pocketsphinx-testdata)")
    path = DATA / "models" / f"{name}.onnx"
    if not path.is_file():
        pytest.skip(f"models/{name}.onnx is not in EDGERUN_DATA")
    with Session(path) as session:
        inputs = inputs_of(name, session, DATA)
        assert inputs.count >= 20
        answers = [np.argmax(next(iter(session.run(inputs.feeds(k)).outputs.values()))) for k in inputs.spread(20)]
    assert answers.count(2) >= 19  # marvin, silence, other words: nobody says "marvin" in these readings
