"""Fit a line to noisy points by gradient descent. Works alone too: `python3 train.py --lr=0.1`."""

from __future__ import annotations

import argparse
import json
import os
import random
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=20)
    arguments = parser.parse_args()

    chance = random.Random(int(os.environ.get("LAUNCH_SEED", "0")))
    xs = [chance.uniform(-1, 1) for _ in range(200)]
    points = [(x, 3 * x + 1 + chance.gauss(0, 0.1)) for x in xs]
    slope = intercept = loss = 0.0
    for epoch in range(1, arguments.epochs + 1):
        errors = [(slope * x + intercept - y, x) for x, y in points]
        slope -= arguments.lr * 2 * sum(error * x for error, x in errors) / len(points)
        intercept -= arguments.lr * 2 * sum(error for error, _ in errors) / len(points)
        loss = sum(error * error for error, _ in errors) / len(points)
        report({"step": epoch, "loss": loss})

    outputs = Path(os.environ.get("LAUNCH_OUTPUTS", "outputs"))
    outputs.mkdir(parents=True, exist_ok=True)
    (outputs / "line.json").write_text(json.dumps({"slope": slope, "intercept": intercept, "loss": loss}, indent=2) + "\n")


def report(metrics: dict[str, float]) -> None:
    """Print the metrics, and hand them to launch: one JSON object a line. `mlflow.log_metric` works as well."""
    print("  ".join(f"{name} {value:.4g}" for name, value in metrics.items()), flush=True)
    file = os.environ.get("LAUNCH_METRICS")
    if file:
        with open(file, "a") as lines:
            lines.write(json.dumps(metrics) + "\n")


if __name__ == "__main__":
    main()
