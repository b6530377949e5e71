"""Data-parallel training steps inside one process: one single-threaded replica of the net a core.

Measured against PyTorch's own two-thread convolutions on a busy two-core machine: 22-28 % more images per second of
processor time, because threads meet once a step instead of at every layer.
"""
from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from edgerun_tools.train.nets import ExitNet


class Replicas:
    """`count` replicas that share one set of parameters; gradients are averaged, so a step equals one on the whole
    batch except that BatchNorm uses its share of it.  Running statistics are those of the first replica (`net`)."""

    def __init__(self, net: ExitNet, count: int, bf16: bool = False) -> None:
        """bf16: the forward pass under autocast to bfloat16; losses and parameters stay float32."""
        torch.set_num_threads(1)
        self._bf16 = bf16
        self.nets = [net, *(copy.deepcopy(net) for _ in range(count - 1))]
        for other in self.nets[1:]:
            for mine, shared in zip(other.parameters(), net.parameters(), strict=True):
                mine.data = shared.data
        self._pool = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,))

    def backward(self, images: Tensor, y: Tensor, loss: Callable[[tuple[Tensor, ...], Tensor], Tensor]) -> float:
        """Leave the batch's mean gradient in `net`; images [N,C,H,W], y [N]; returns the mean loss."""
        def work(job: tuple[ExitNet, Tensor, Tensor]) -> float:
            net, x, target = job
            net.train()
            for p in net.parameters():
                p.grad = None
            with torch.autocast("cpu", torch.bfloat16, enabled=self._bf16):  # per thread, hence here
                logits = net(x)
            value = loss(tuple(z.float() for z in logits), target)
            value.backward()
            return value.item()

        n = len(self.nets)
        parts = zip(self.nets, images.chunk(n), y.chunk(n), strict=True)
        values = list(self._pool.map(work, parts))
        grads = [p.grad for p in self.nets[0].parameters()]
        for other in self.nets[1:]:
            torch._foreach_add_(grads, [p.grad for p in other.parameters()])
        torch._foreach_div_(grads, n)
        return sum(values) / n

    def close(self) -> None:
        """Stop the threads."""
        self._pool.shutdown()
