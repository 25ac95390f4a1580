"""Train a ResNet on CIFAR-10, or on enlarged digits where no CIFAR-10 is given.

Works alone (`python train.py --epochs=1`), under torchrun with any number of processes, and under launch, which gives it
parameters ($LAUNCH_PARAMS), a seed, data ($LAUNCH_DATA_CIFAR10), a file to append metrics to ($LAUNCH_METRICS), directories for
results ($LAUNCH_OUTPUTS) and for what a resumed run goes on from ($LAUNCH_CHECKPOINTS).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

DEFAULTS: dict[str, Any] = {"lr": 0.1, "epochs": 90, "batch_size": 128, "amp": True, "depth": 20}


def read_arguments() -> argparse.Namespace:
    """Parameters: the command line, else launch's parameter file, else the defaults."""
    given = os.environ.get("LAUNCH_PARAMS")
    known = DEFAULTS | (json.loads(Path(given).read_text()) if given else {})
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lr", type=float, default=known["lr"], help="highest learning rate, for a batch of 128")
    parser.add_argument("--epochs", type=int, default=known["epochs"])
    parser.add_argument("--batch-size", type=int, default=known["batch_size"], help="images per step, over all processes")
    parser.add_argument("--amp", action=argparse.BooleanOptionalAction, default=known["amp"], help="mixed precision on a GPU")
    parser.add_argument("--depth", type=int, default=known["depth"], help="layers, 6n + 2")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("LAUNCH_SEED", "0")))
    parser.add_argument("--cifar10", default=os.environ.get("LAUNCH_DATA_CIFAR10"), help="directory with cifar-10-batches-py")
    return parser.parse_args()


def main() -> None:
    arguments = read_arguments()
    rank, processes = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if rank == 0:
        print(f"resnet: {' '.join(f'{name}={value}' for name, value in vars(arguments).items())}", flush=True)
    # A checkpoint is written after every epoch, so there is nothing to save here: end at once, within any grace period.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

    import torch
    from torch import distributed

    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    if os.environ.get("LAUNCH_DETERMINISTIC") == "1":
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    torch.manual_seed(arguments.seed)
    if processes > 1:
        distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        train(arguments, device=device, rank=rank, processes=processes)
    finally:
        if processes > 1:
            distributed.destroy_process_group()


def train(arguments: argparse.Namespace, *, device: Any, rank: int, processes: int) -> None:
    import torch
    from images import load
    from model import ResNet
    from torch.nn.parallel import DistributedDataParallel

    data = load(arguments.cifar10, seed=arguments.seed)
    model = ResNet(depth=arguments.depth, classes=10).to(device)
    if rank == 0:
        weights = sum(parameter.numel() for parameter in model.parameters())
        print(f"{data.name}: {len(data.train_x)} images, {weights} weights, {processes} × {device.type}", flush=True)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=arguments.lr * arguments.batch_size / 128, momentum=0.9, weight_decay=1e-4, nesterov=True
    )
    steps = arguments.epochs * math.ceil(len(data.train_x) / arguments.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=optimizer.param_groups[0]["lr"], total_steps=max(2, steps), pct_start=0.2
    )
    scaler = torch.amp.GradScaler(device.type, enabled=arguments.amp and device.type == "cuda")
    state = {"model": model, "optimizer": optimizer, "schedule": schedule, "scaler": scaler}
    checkpoint = Path(os.environ.get("LAUNCH_CHECKPOINTS", "checkpoints")) / "last.pt"
    first = restore(checkpoint, state, device)
    if first and rank == 0:
        print(f"resumed after epoch {first}", flush=True)
    replica = DistributedDataParallel(model) if processes > 1 else model

    metrics: dict[str, Any] = {}
    for epoch in range(first + 1, arguments.epochs + 1):
        started = time.monotonic()
        loss = train_epoch(replica, data, epoch, state, arguments, device=device, rank=rank, processes=processes)
        val_loss, val_accuracy = evaluate(model, data.val_x, data.val_y, device)
        metrics = {"step": epoch, "loss": loss, "val_loss": val_loss, "val_accuracy": val_accuracy}
        metrics["lr"] = schedule.get_last_lr()[0]
        metrics["time/epoch_s"] = round(time.monotonic() - started, 3)
        if rank == 0:
            save(checkpoint, state, epoch)
            report(metrics, arguments.epochs)
    if rank == 0:
        write_results(model, metrics, arguments)


def train_epoch(
    replica: Any,
    data: Any,
    epoch: int,
    state: dict[str, Any],
    arguments: argparse.Namespace,
    *,
    device: Any,
    rank: int,
    processes: int,
) -> float:
    """One pass over this process's share of the images. Returns the mean loss over all processes."""
    import torch
    from images import augmented
    from torch import distributed
    from torch.nn import functional

    replica.train()
    # Seeded by the epoch, not carried along: a resumed run sees the batches that it would have seen.
    order = torch.randperm(len(data.train_x), generator=torch.Generator().manual_seed(arguments.seed * 100_003 + epoch))
    chance = torch.Generator().manual_seed((arguments.seed * 100_003 + epoch) * processes + rank + 1)
    total = torch.zeros(2, device=device)
    for start in range(0, len(order), arguments.batch_size):
        batch = order[start : start + arguments.batch_size]
        if len(batch) < processes:
            continue  # not an image for each process: all of them skip it
        chosen = batch[rank::processes]
        images = augmented(data.train_x[chosen].to(device), flip=data.flip, generator=chance)
        labels = data.train_y[chosen].to(device)
        state["optimizer"].zero_grad(set_to_none=True)
        with torch.autocast(device.type, enabled=state["scaler"].is_enabled(), dtype=torch.float16):
            loss = functional.cross_entropy(replica(images), labels)
        state["scaler"].scale(loss).backward()
        state["scaler"].step(state["optimizer"])
        state["scaler"].update()
        state["schedule"].step()
        total += torch.stack([loss.detach().float() * len(labels), torch.tensor(float(len(labels)), device=device)])
    if processes > 1:
        distributed.all_reduce(total)
    return float(total[0] / total[1])


def evaluate(model: Any, images: Any, labels: Any, device: Any) -> tuple[float, float]:
    """(mean loss, accuracy), by every process alike: batch norm's statistics are those of the first."""
    import torch
    from torch.nn import functional

    model.eval()
    loss = right = 0.0
    with torch.no_grad():
        for start in range(0, len(images), 500):
            scores = model(images[start : start + 500].to(device))
            expected = labels[start : start + 500].to(device)
            loss += float(functional.cross_entropy(scores, expected, reduction="sum"))
            right += float((scores.argmax(1) == expected).sum())
    return loss / len(images), right / len(images)


def restore(file: Path, state: dict[str, Any], device: Any) -> int:
    """Go on from *file*. Returns the last finished epoch, 0 where there is none."""
    import torch

    if not file.is_file():
        return 0
    saved = torch.load(file, map_location=device, weights_only=True)
    for name, part in state.items():
        part.load_state_dict(saved[name])
    return int(saved["epoch"])


def save(file: Path, state: dict[str, Any], epoch: int) -> None:
    """Write a checkpoint beside the last one and rename: a crash leaves the old one whole."""
    import torch

    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    torch.save({"epoch": epoch, **{name: part.state_dict() for name, part in state.items()}}, partial)
    partial.replace(file)


def report(metrics: dict[str, Any], epochs: int) -> None:
    """Print the metrics of an epoch, and hand them to launch."""
    values = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items() if name != "step")
    print(f"epoch {metrics['step']:>3}/{epochs}  {values}", flush=True)
    file = os.environ.get("LAUNCH_METRICS")
    if file:
        with open(file, "a") as lines:
            lines.write(json.dumps(metrics) + "\n")


def write_results(model: Any, metrics: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Weights and last metrics, without anything that changes from run to run (times, names of files)."""
    import torch

    outputs = Path(os.environ.get("LAUNCH_OUTPUTS", "outputs"))
    outputs.mkdir(parents=True, exist_ok=True)
    torch.save({name: tensor.cpu() for name, tensor in model.state_dict().items()}, outputs / "model.pt")
    final = {name: value for name, value in metrics.items() if name != "step" and not name.startswith("time/")}
    (outputs / "results.json").write_text(json.dumps({"epochs": arguments.epochs, **final}, indent=2) + "\n")


if __name__ == "__main__":
    main()
