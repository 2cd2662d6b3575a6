"""Writes fused_ops.pt beside itself: oneDNN's convolution with its activation in one step, as TorchScript.

libtorch registers these operators under `mkldnn`, and calls them by name only from TorchScript. Needs the
PyTorch that .ci/setup takes libtorch from.
"""

import io
import zipfile
from pathlib import Path

import torch
from torch import Tensor


class Fused(torch.nn.Module):
    @torch.jit.export
    def pack(self, weight: Tensor, padding: list[int], stride: list[int], groups: int, input_size: list[int]) -> Tensor:
        return torch.ops.mkldnn._reorder_convolution_weight(weight, padding, stride, [1, 1], groups, input_size)

    @torch.jit.export
    def conv(
        self, x: Tensor, packed: Tensor, bias: Tensor, padding: list[int], stride: list[int], groups: int, activation: str
    ) -> Tensor:
        return torch.ops.mkldnn._convolution_pointwise(x, packed, bias, padding, stride, [1, 1], groups, activation, [], "")


if __name__ == "__main__":
    saved = io.BytesIO()
    torch.jit.save(torch.jit.script(Fused()), saved)
    # Without the part that points into this file.
    with zipfile.ZipFile(saved) as full, zipfile.ZipFile(Path(__file__).with_suffix(".pt"), "w") as kept:
        for entry in full.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                kept.writestr(zipfile.ZipInfo(entry.filename), full.read(entry))
