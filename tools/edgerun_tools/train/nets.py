"""The zoo's networks: a trunk cut into segments, one classifier head after every segment.

Deployed operators: Conv (BatchNorm folded in at export), Relu, Sigmoid, Tanh, Add, MaxPool, GlobalAveragePool, Flatten, Gemm.
Heads end in a global average pool where the recipe trains on crops smaller than the deployed image.
"""
from __future__ import annotations

import torch
from torch import Tensor, nn


class Depthwise(nn.Conv2d):
    """3x3 convolution of each channel alone, in float32 also under autocast: PyTorch's bfloat16 gradient of it runs a reference loop."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__(channels, channels, 3, stride, 1, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N,C,H,W] -> [N,C,H/stride,W/stride]."""
        if not torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())


def conv_bn(cin: int, cout: int, stride: int = 1, kernel: int = 3, relu: bool = True) -> nn.Sequential:
    """Square convolution without bias, padded to keep the size at stride 1, then BatchNorm and (if asked) ReLU."""
    layers: list[nn.Module] = [nn.Conv2d(cin, cout, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(cout)]
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if relu else nn.Sequential(*layers)


class BasicBlock(nn.Module):
    """ResNet basic block (He et al. 2015, arXiv 1512.03385): two 3x3 convolutions, a skip, 1x1 where shapes differ."""

    def __init__(self, cin: int, cout: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(conv_bn(cin, cout, stride), conv_bn(cout, cout, relu=False))
        same = stride == 1 and cin == cout
        self.skip = nn.Identity() if same else conv_bn(cin, cout, stride, kernel=1, relu=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[N,Cin,H,W] -> [N,Cout,H/stride,W/stride]."""
        return self.relu(self.body(x) + self.skip(x))


class InvertedResidual(nn.Module):
    """MobileNetV2's block (Sandler et al. 2018, arXiv 1801.04381): 1x1 up to `expand` times the channels, 3x3 one a channel, 1x1 down
    without an activation; a skip where shapes are the same. ReLU rather than ReLU6: one operator less, and fp32 needs no bound."""

    def __init__(self, cin: int, cout: int, expand: int, stride: int = 1) -> None:
        super().__init__()
        wide = cin * expand
        self.same = stride == 1 and cin == cout
        each = nn.Sequential(Depthwise(wide, stride), nn.BatchNorm2d(wide), nn.ReLU(inplace=True))
        self.body = nn.Sequential(conv_bn(cin, wide, kernel=1), each, conv_bn(wide, cout, kernel=1, relu=False))

    def forward(self, x: Tensor) -> Tensor:
        """[N,Cin,H,W] -> [N,Cout,H/stride,W/stride]."""
        return x + self.body(x) if self.same else self.body(x)


def head(cin: int, convs: list[int], classes: int, hidden: int = 0, flat: int = 0,
         strided: bool = False) -> nn.Sequential:
    """Exit head: per entry of `convs` a 2x2 max pool and a 3x3 convolution to that many channels (with `strided`, a
    convolution of stride 2 alone: a pool would lose the border of a map of odd size), then a global average
    pool (or, with `flat`, every value of a flat x flat map, with dropout), [Linear, ReLU,] Linear.

    A pool before a stride-1 convolution rather than a convolution of stride 2: the same multiplications, but in a shape
    for which Winograd's algorithm exists, which measured 1.5 to 2.5 times as fast.  Input [N,cin,H,W], logits [N,classes]."""
    layers: list[nn.Module] = []
    for cout in convs:
        layers += [conv_bn(cin, cout, 2)] if strided else [nn.MaxPool2d(2), conv_bn(cin, cout)]
        cin = cout
    layers += [nn.Flatten(), nn.Dropout(0.25)] if flat else [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    cin *= max(flat, 1) ** 2
    if hidden:
        layers += [nn.Linear(cin, hidden), nn.ReLU(inplace=True)]
        cin = hidden
    return nn.Sequential(*layers, nn.Linear(cin, classes))


class ExitNet(nn.Module):
    """Segments in sequence, a head after each: `forward` returns one logits tensor [N,classes] an exit, in order."""

    def __init__(self, segments: list[nn.Module], heads: list[nn.Module]) -> None:
        super().__init__()
        if len(segments) != len(heads):
            raise ValueError(f"expected a head for every segment, found {len(segments)} segments, {len(heads)} heads")
        self.segments, self.heads = nn.ModuleList(segments), nn.ModuleList(heads)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
        for m in self.modules():  # residual branches start at zero: the net starts as its short path
            if isinstance(m, BasicBlock):
                nn.init.zeros_(m.body[1][1].weight)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Image batch [N,C,H,W], preprocessed -> logits of every exit."""
        out = []
        for segment, classify in zip(self.segments, self.heads, strict=True):
            x = segment(x)
            out.append(classify(x))
        return tuple(out)


def cifar10_resnet18(classes: int = 10) -> ExitNet:
    """ResNet-18 shape at half width (32-64-128-256, blocks 2-2-2-2, 3x3 stem), 32x32 RGB, three early exits after
    blocks 1, 3 and 5 of 8."""
    segments = [
        nn.Sequential(conv_bn(3, 32), BasicBlock(32, 32)),
        nn.Sequential(BasicBlock(32, 32), BasicBlock(32, 64, 2)),
        nn.Sequential(BasicBlock(64, 64), BasicBlock(64, 128, 2)),
        nn.Sequential(BasicBlock(128, 128), BasicBlock(128, 256, 2), BasicBlock(256, 256)),
    ]
    heads = [head(32, [48, 96], classes), head(64, [96], classes), head(128, [64], classes), head(256, [], classes)]
    return ExitNet(segments, heads)


def cifar10_alexnet(classes: int = 10) -> ExitNet:
    """AlexNet shape sized for 32x32 RGB: five convolutions with three max pools, a classifier over the flattened map with
    a hidden layer, and early exits after convolutions 2, 3 and 4 (Krizhevsky et al. 2012; BatchNorm for its local
    response normalisation)."""
    segments = [
        nn.Sequential(conv_bn(3, 32, kernel=5), nn.MaxPool2d(2), conv_bn(32, 96), nn.MaxPool2d(2)),
        conv_bn(96, 192),
        conv_bn(192, 192),
        nn.Sequential(conv_bn(192, 128), nn.MaxPool2d(2)),
    ]
    heads = [
        head(96, [128], classes),
        head(192, [128], classes),
        head(192, [96], classes),
        head(128, [], classes, hidden=512, flat=4),
    ]
    return ExitNet(segments, heads)


def cifar10_vgg(classes: int = 10) -> ExitNet:
    """VGG shape sized for 32x32 RGB (Simonyan, Zisserman 2014, arXiv 1409.1556): four pairs of 3x3 convolutions with a max pool between
    pairs, BatchNorm, a global average pool instead of the wide classifier; early exits after pairs 2 and 3."""
    segments = [
        nn.Sequential(conv_bn(3, 24), conv_bn(24, 32), nn.MaxPool2d(2), conv_bn(32, 64), conv_bn(64, 64)),
        nn.Sequential(nn.MaxPool2d(2), conv_bn(64, 128), conv_bn(128, 128)),
        nn.Sequential(nn.MaxPool2d(2), conv_bn(128, 256), conv_bn(256, 128)),
    ]
    return ExitNet(segments, [head(64, [64], classes), head(128, [64], classes), head(128, [], classes)])


def cifar10_mobilenet(classes: int = 10) -> ExitNet:
    """MobileNetV2 shape sized for 32x32 RGB: a 3x3 stem, eight inverted residuals (one 3x3 convolution a channel), a 1x1 convolution and
    a global average pool; early exits after blocks 2 and 5."""
    block = InvertedResidual
    segments = [
        nn.Sequential(conv_bn(3, 16), block(16, 24, 4, 2), block(24, 24, 6)),
        nn.Sequential(block(24, 40, 6, 2), block(40, 40, 6), block(40, 40, 6)),
        nn.Sequential(block(40, 80, 6), block(80, 80, 4), block(80, 112, 6, 2), conv_bn(112, 320, kernel=1)),
    ]
    return ExitNet(segments, [head(24, [48], classes), head(40, [64], classes), head(320, [], classes)])


def mnist_alexnet(classes: int = 10) -> ExitNet:
    """AlexNet shape sized for 28x28 grey: five convolutions, two max pools, a two-layer classifier, and early exits
    after convolutions 2 and 3."""
    segments = [
        nn.Sequential(conv_bn(1, 24, kernel=5), nn.MaxPool2d(2), conv_bn(24, 48), nn.MaxPool2d(2)),
        conv_bn(48, 96),
        nn.Sequential(conv_bn(96, 128), conv_bn(128, 96), nn.MaxPool2d(2)),
    ]
    heads = [
        head(48, [64], classes, strided=True),
        head(96, [96], classes, strided=True),
        head(96, [], classes, hidden=128),
    ]
    return ExitNet(segments, heads)


def digits_mlp(classes: int = 10) -> ExitNet:
    """A perceptron that fits 2 KB of RAM and 32 KB of flash: 64-64-24, sigmoid then tanh, 8x8 grey; its only exit is the last."""
    trunk = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Sigmoid(), nn.Linear(64, 24), nn.Tanh())
    return ExitNet([trunk], [nn.Linear(24, classes)])


@torch.no_grad()
def macs(net: ExitNet, shape: tuple[int, int, int]) -> dict[str, list[int]]:
    """Multiply-accumulates of convolutions and linear layers for one image of `shape` [C,H,W].

    trunk: cumulative trunk cost up to each exit; head: each head alone; alone: trunk + that head (the cost of running
    straight to that exit); path: trunk + all heads up to it (the cost when every exit before was tried)."""
    counted = [0]

    def hook(m: nn.Module, _inputs: tuple, out: Tensor) -> None:
        per_output = m.weight[0].numel()
        counted[0] += per_output * out[0].numel()

    handles = [m.register_forward_hook(hook) for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    was_training, x = net.training, torch.zeros(1, *shape)
    net.eval()
    trunk: list[int] = []
    heads: list[int] = []
    for segment, classify in zip(net.segments, net.heads, strict=True):
        counted[0] = 0
        x = segment(x)
        trunk.append(counted[0] + (trunk[-1] if trunk else 0))
        counted[0] = 0
        classify(x)
        heads.append(counted[0])
    for h in handles:
        h.remove()
    net.train(was_training)
    return {"trunk": trunk, "head": heads, "alone": [t + h for t, h in zip(trunk, heads, strict=True)],
            "path": [t + sum(heads[:i + 1]) for i, t in enumerate(trunk)]}
