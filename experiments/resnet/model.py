"""ResNet for 32 × 32 images: He et al., "Deep Residual Learning for Image Recognition" (2015), section 4.2.

`depth` is 6n + 2: 20 has 0.27 million weights. Where the size changes the shortcut is theirs, option A: no weights of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """Two 3 × 3 convolutions and a shortcut around them."""

    def __init__(self, channels_in: int, channels: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.stride = stride
        self.added = channels - channels_in

    def forward(self, images: Tensor) -> Tensor:
        out = functional.relu(self.norm1(self.conv1(images)))
        out = self.norm2(self.conv2(out))
        shortcut = images[:, :, :: self.stride, :: self.stride]
        if self.added:
            shortcut = functional.pad(shortcut, (0, 0, 0, 0, self.added // 2, self.added - self.added // 2))
        return functional.relu(out + shortcut)


class ResNet(nn.Module):
    def __init__(self, *, depth: int, classes: int) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise SystemExit(f"depth is 6n + 2 (8, 14, 20, 32, 44, 56, 110), not {depth}")
        blocks: list[nn.Module] = []
        channels_in = 16
        for channels, stride in ((16, 1), (32, 2), (64, 2)):
            for number in range((depth - 2) // 6):
                blocks.append(Block(channels_in, channels, stride=stride if number == 0 else 1))
                channels_in = channels
        self.conv = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.blocks = nn.Sequential(*blocks)
        self.linear = nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        out = self.blocks(functional.relu(self.norm(self.conv(images))))
        return self.linear(torch.mean(out, dim=(2, 3)))
