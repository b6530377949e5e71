"""Trained net -> one ONNX file with an output for every exit and the metadata edgerun reads."""
from __future__ import annotations

import copy
import json
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from edgerun_tools.train.nets import ExitNet
from edgerun_tools.train.recipes import Recipe

OPSET = 17


def exit_names(n: int) -> list[str]:
    """Output names in order: exit1 ... exit(n-1), final."""
    return [f"exit{i}" for i in range(1, n)] + ["final"]


def folded(net: ExitNet) -> ExitNet:
    """Copy of the net in eval mode with every BatchNorm folded into the convolution before it."""
    net = copy.deepcopy(net).eval()
    for m in list(net.modules()):
        if isinstance(m, nn.Sequential):
            for i in range(1, len(m)):
                if isinstance(m[i], nn.BatchNorm2d) and isinstance(m[i - 1], nn.Conv2d):
                    m[i - 1], m[i] = fuse_conv_bn_eval(m[i - 1], m[i]), nn.Identity()
    left = [n for n, m in net.named_modules() if isinstance(m, nn.BatchNorm2d)]
    if left:
        raise ValueError(f"expected a convolution before every BatchNorm, found none before {left}")
    return net


def metadata(recipe: Recipe, classes: list[str], card: dict) -> dict[str, str]:
    """The file's metadata_props: exits where there are several, preprocessing x = (pixel*scale - mean)/std, labels, short model card."""
    names = exit_names(len(recipe.net().heads))
    preprocess = {"layout": "NCHW", "color": recipe.color, "size": list(recipe.shape[1:]), "resize": "bilinear",
                  "scale": 1 / 255, "mean": list(recipe.mean), "std": list(recipe.std)}
    exits = {"edgerun.exits": json.dumps(names)} if len(names) > 1 else {}
    return {**exits, "edgerun.preprocess": json.dumps(preprocess),
            "edgerun.labels": json.dumps(classes), "edgerun.model_card": json.dumps(card)}


def export(net: ExitNet, recipe: Recipe, path: Path, meta: dict[str, str]) -> None:
    """Write the ONNX file: input `image` float32 [batch,C,H,W], outputs logits float32 [batch,classes]."""
    names = exit_names(len(net.heads))
    plain = folded(net).to(memory_format=torch.contiguous_format)
    path.parent.mkdir(parents=True, exist_ok=True)
    tmp = path.with_suffix(".tmp")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(plain, (torch.zeros(1, *recipe.shape),), str(tmp), input_names=["image"], output_names=names,
                          dynamic_axes={k: {0: "batch"} for k in ["image", *names]}, opset_version=OPSET, dynamo=False)
    model = onnx.load(tmp)
    del model.metadata_props[:]
    for key, value in meta.items():
        model.metadata_props.add(key=key, value=value)
    model.producer_name, model.graph.name = "edgerun_tools.train", recipe.name
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, tmp)
    tmp.replace(path)


def run_onnx(path: Path, images: np.ndarray, recipe: Recipe, batch: int = 250) -> np.ndarray:
    """Logits float32 [exits,N,classes] of the exported file for uint8 images [N,H,W,C], computed by ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    mean, std = (np.array(v, np.float32).reshape(1, -1, 1, 1) for v in (recipe.mean, recipe.std))
    parts = []
    for i in range(0, len(images), batch):
        x = (images[i:i + batch].transpose(0, 3, 1, 2) * np.float32(1 / 255) - mean) / std
        parts.append(np.stack(session.run(None, {"image": x.astype(np.float32)})))
    return np.concatenate(parts, axis=1)
