"""The MLPerf Tiny networks of the data folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = (ROOT / os.environ.get("EDGERUN_DATA", "../shared/data") / "models").resolve()
FLOAT = ("mlperf_ad01_fp32", "mlperf_dscnn_kws_fp32", "mlperf_resnet8_cifar10_fp32", "mlperf_strww_fp32", "mlperf_vww96_fp32")
INT8 = ("mlperf_ad01_int8qdq", "mlperf_dscnn_kws_int8qdq", "mlperf_dscnn_kws_qdq_s8s8_perchannel",
        "mlperf_dscnn_kws_qoperator_u8s8_pertensor", "mlperf_resnet8_cifar10_int8qdq", "mlperf_resnet8_cifar10_qoperator_u8s8_pertensor",
        "mlperf_strww_int8qdq", "mlperf_vww96_int8qdq", "mlperf_vww96_qoperator_u8s8_pertensor", "tflm_micro_speech_int8qdq")


def path_of(name: str) -> Path:
    path = FOLDER / f"{name}.onnx"
    if not path.is_file():
        pytest.skip(f"models/{name}.onnx is not in EDGERUN_DATA")
    return path
