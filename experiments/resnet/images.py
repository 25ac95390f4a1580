"""The images to train on: CIFAR-10 where it is given, else handwritten digits enlarged to the same size.

`digits.npz` holds the 1797 8 × 8 test images of "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak, UCI Machine
Learning Repository, CC BY 4.0), so that the experiment runs anywhere, also without a network.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Images:
    """Normalised images in memory, channels first."""

    name: str
    train_x: Tensor
    train_y: Tensor
    val_x: Tensor
    val_y: Tensor
    flip: bool
    """Whether a mirrored image is still of its class: a mirrored ship is a ship, a mirrored 3 is none."""


def load(cifar10: str | None, *, seed: int) -> Images:
    """CIFAR-10 from the directory *cifar10* (the one that holds `cifar-10-batches-py`, or that itself), else digits."""
    return _cifar10(Path(cifar10)) if cifar10 else _digits(seed)


def _cifar10(directory: Path) -> Images:
    from torchvision.datasets import CIFAR10

    root = directory.parent if directory.name == "cifar-10-batches-py" else directory
    parts = [CIFAR10(str(root), train=train, download=False) for train in (True, False)]
    mean = torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1)
    deviation = torch.tensor([0.2470, 0.2435, 0.2616]).view(3, 1, 1)
    tensors = []
    for part in parts:
        pixels = torch.from_numpy(part.data).permute(0, 3, 1, 2).float() / 255
        tensors += [(pixels - mean) / deviation, torch.tensor(part.targets)]
    return Images("CIFAR-10", tensors[0], tensors[1], tensors[2], tensors[3], flip=True)


def _digits(seed: int) -> Images:
    with np.load(Path(__file__).parent / "digits.npz") as archive:
        small = torch.from_numpy(archive["images"]).float()[:, None] / 16
        labels = torch.from_numpy(archive["labels"]).long()
    large = functional.interpolate(small, size=(32, 32), mode="bilinear", align_corners=False)
    pixels = ((large - large.mean()) / large.std()).repeat(1, 3, 1, 1)
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(seed))
    val, train = order[:360], order[360:]
    return Images("digits, enlarged", pixels[train], labels[train], pixels[val], labels[val], flip=False)


def augmented(images: Tensor, *, flip: bool, generator: torch.Generator) -> Tensor:
    """Each image shifted by up to 4 pixels, and mirrored half of the time where that makes sense."""
    count, _, height, width = images.shape
    padded = functional.pad(images, (4, 4, 4, 4))
    down = torch.randint(0, 9, (count,), generator=generator).to(images.device)
    right = torch.randint(0, 9, (count,), generator=generator).to(images.device)
    rows = down[:, None] + torch.arange(height, device=images.device)
    columns = right[:, None] + torch.arange(width, device=images.device)
    each = torch.arange(count, device=images.device)[:, None, None]
    moved = padded[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    if flip:
        mirrored = (torch.rand(count, generator=generator) < 0.5).to(images.device)
        moved = torch.where(mirrored[:, None, None, None], moved.flip(3), moved)
    return moved.contiguous()
