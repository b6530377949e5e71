"""The training recipes' parts: costs, loss, schedule, resuming, export."""
from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from edgerun_tools.train import augment, export, loop, nets, recipes  # noqa: E402
from edgerun_tools.train.replicas import Replicas  # noqa: E402

RECIPE = recipes.RECIPES["mnist_alexnet"]


def _splits(n: int = 64) -> recipes.Splits:
    rng = np.random.default_rng(0)

    def part(k):
        return rng.integers(0, 256, (k, 28, 28, 1), np.uint8), rng.integers(0, 10, k)
    return recipes.Splits(part(256), part(n), part(n), [str(d) for d in range(10)])


@pytest.mark.parametrize("name", sorted(recipes.RECIPES))
def test_macs_of_known_shapes(name):
    recipe = recipes.RECIPES[name]
    cost = nets.macs(recipe.net(), recipe.shape)
    assert cost["alone"] == sorted(cost["alone"])
    assert len(cost["alone"]) == len(cost["head"])
    assert cost["path"][-1] == cost["trunk"][-1] + sum(cost["head"])
    if name == "cifar10_resnet18":  # stem + block: 32*27 + 2*32*288 weights at 32x32
        assert cost["trunk"][0] == 1024 * (32 * 27 + 2 * 32 * 288)


def test_loss_weights_grow_with_the_exit():
    """With equal logits everywhere and no distillation the loss is (1/N + ... + N/N) cross-entropies."""
    z, y = torch.randn(8, 10), torch.randint(0, 10, (8,))
    one = loop.joint_loss((z,), y, RECIPE, 0.0)
    assert loop.joint_loss((z, z, z), y, RECIPE, 0.0).item() == pytest.approx(2 * one.item(), rel=1e-5)


def test_bfloat16_gradients_are_near_those_of_float32():
    """Of MobileNet's whole net (depthwise convolutions stay float32); parameters and gradients are float32 either way."""
    torch.manual_seed(0)
    net, recipe = nets.cifar10_mobilenet(), recipes.RECIPES["cifar10_mobilenet"]
    x, y = torch.randn(16, 3, 16, 16), torch.arange(16) % 10
    found = []
    for bf16 in (False, True):
        replicas = Replicas(net, 1, bf16)
        replicas.backward(x, y, lambda z, t: loop.joint_loss(z, t, recipe, 0.0))
        replicas.close()
        assert {p.grad.dtype for p in net.parameters()} == {torch.float32}
        found.append(torch.cat([p.grad.flatten() for p in net.parameters()]))
    assert torch.cosine_similarity(*found, dim=0) > 0.9
    assert not torch.equal(*found)


def test_distillation_does_not_move_the_last_exit():
    a, b = torch.randn(8, 10, requires_grad=True), torch.randn(8, 10, requires_grad=True)
    y = torch.randint(0, 10, (8,))
    loop.joint_loss((a, b), y, RECIPE, 0.5).backward()
    alone = b.detach().clone().requires_grad_()
    loop.joint_loss((alone,), y, RECIPE, 0.0).backward()
    torch.testing.assert_close(b.grad, alone.grad)
    assert a.grad.abs().sum() > 0


def test_one_cycle_rises_then_falls():
    rates = [loop.one_cycle(t, 1.0, 0.2) for t in (0.0, 0.1, 0.2, 0.6, 1.0)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[2] == pytest.approx(1.0)
    assert rates[4] < 0.01


def test_cycles_follow_each_other():
    recipe = recipes.RECIPES["cifar10_resnet18"]
    first, second = (c.epochs for c in recipe.cycles)
    assert [recipe.cycle(e) for e in (0, first - 1, first, first + second - 1)] == [(0, 0), (0, first - 1), (1, 0), (1, second - 1)]
    assert recipe.epochs == first + second
    assert [c.epochs for c in recipe.shortened(2).cycles] == [1, 1]


def test_crops_are_windows_of_the_image():
    x = np.random.default_rng(1).integers(0, 256, (4, 8, 8, 3), np.uint8)
    same = augment.crop_flip(x, 8, 0, np.zeros(4, bool), np.random.default_rng(2))
    turned = augment.crop_flip(x, 8, 0, np.ones(4, bool), np.random.default_rng(2))
    assert np.array_equal(same.permute(0, 2, 3, 1), x)
    assert np.array_equal(turned.permute(0, 2, 3, 1), x[:, :, ::-1])
    assert augment.crop_flip(x, 6, 2, np.zeros(4, bool), np.random.default_rng(2)).shape == (4, 3, 6, 6)


def test_warp_without_strength_is_the_image():
    x = np.random.default_rng(1).integers(0, 256, (2, 28, 28, 1), np.uint8)
    rng = np.random.default_rng(2)
    out = augment.warp(x, rng, degrees=0, scale=0, shift=0, elastic=0, shear=0)
    np.testing.assert_allclose(out.permute(0, 2, 3, 1).numpy(), x, atol=0.05)


def test_interrupted_run_ends_where_a_whole_one_does(tmp_path):
    recipe = RECIPE.shortened(2)
    whole, history = loop.train(recipe, _splits(), _folder(tmp_path, "a"), resume=False)
    broken = _folder(tmp_path, "b")
    with pytest.raises(KeyboardInterrupt):
        loop.train(recipe, _interrupting(_splits()), broken, resume=False)
    assert len(json.loads((broken / f"{RECIPE.name}.history.json").read_text())) == 1
    resumed, again = loop.train(recipe, _splits(), broken, resume=True)
    assert [h["epoch"] for h in again] == [h["epoch"] for h in history] == [1, 2]
    for (k, a), b in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4, msg=k)


def _folder(root, name):
    (root / name).mkdir()
    return root / name


def _interrupting(splits: recipes.Splits) -> recipes.Splits:
    """The same splits, but the second evaluation is interrupted, as by Ctrl-C."""
    class Once(np.ndarray):
        left = 1

        def __getitem__(self, key):
            if isinstance(key, slice) and key.step in (1, 2):
                Once.left -= 1
                if Once.left < 0:
                    raise KeyboardInterrupt
            return np.asarray(self)[key]
    x, y = splits.calibration
    return recipes.Splits(splits.train, (x.view(Once), y), splits.test, splits.classes)


def test_export_matches_torch_and_folds_batchnorm(tmp_path):
    pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    net = RECIPE.net()
    for m in net.modules():  # statistics that folding must get right
        if isinstance(m, torch.nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.1)
            m.running_var.uniform_(0.5, 2)
    path, images = tmp_path / "m.onnx", _splits().test[0]
    export.export(net, RECIPE, path, export.metadata(RECIPE, list("0123456789"), {}))
    expected = loop.predict(net, images, augment.Normalise(RECIPE.mean, RECIPE.std))
    np.testing.assert_allclose(export.run_onnx(path, images, RECIPE), expected, atol=1e-3)
    model = onnx.load(path)
    assert "BatchNormalization" not in {n.op_type for n in model.graph.node}
    assert [o.name for o in model.graph.output] == ["exit1", "exit2", "final"]
