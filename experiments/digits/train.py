"""Train a multi-layer perceptron on the handwritten digits that scikit-learn ships.

Works alone (`python train.py --lr=0.01`) and under launch, which gives it parameters ($LAUNCH_PARAMS), a seed, a file to
append metrics to ($LAUNCH_METRICS, one JSON object a line) and a directory to leave results in ($LAUNCH_OUTPUTS). Results are
the same bytes for the same seed, so that a rerun can be compared with the run.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

DEFAULTS: dict[str, Any] = {"lr": 0.001, "epochs": 20, "hidden": [64, 32], "batch_size": 64}


def read_arguments() -> argparse.Namespace:
    """Parameters: the command line, else launch's parameter file, else the defaults."""
    given = os.environ.get("LAUNCH_PARAMS")
    known = DEFAULTS | (json.loads(Path(given).read_text()) if given else {})
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lr", type=float, default=known["lr"], help="learning rate of Adam")
    parser.add_argument("--epochs", type=int, default=known["epochs"])
    parser.add_argument("--hidden", type=int, nargs="+", default=known["hidden"], help="units of each hidden layer")
    parser.add_argument("--batch-size", type=int, default=known["batch_size"])
    parser.add_argument("--seed", type=int, default=int(os.environ.get("LAUNCH_SEED", "0")))
    return parser.parse_args()


def main() -> None:
    arguments = read_arguments()
    print(f"digits: {' '.join(f'{name}={value}' for name, value in vars(arguments).items())}", flush=True)

    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.metrics import log_loss
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier

    images, labels = load_digits(return_X_y=True)
    train_x, val_x, train_y, val_y = train_test_split(
        images / 16.0, labels, test_size=0.2, random_state=arguments.seed, stratify=labels
    )
    model = MLPClassifier(
        hidden_layer_sizes=tuple(arguments.hidden),
        learning_rate_init=arguments.lr,
        batch_size=min(arguments.batch_size, len(train_x)),
        random_state=arguments.seed,
    )
    classes = np.unique(labels)
    for epoch in range(1, arguments.epochs + 1):
        model.partial_fit(train_x, train_y, classes=classes)  # one pass over the data
        metrics = {
            "step": epoch,
            "loss": float(model.loss_),
            "accuracy": float(model.score(train_x, train_y)),
            "val_loss": float(log_loss(val_y, model.predict_proba(val_x))),
            "val_accuracy": float(model.score(val_x, val_y)),
        }
        report(metrics, arguments.epochs)

    outputs = Path(os.environ.get("LAUNCH_OUTPUTS", "outputs"))
    outputs.mkdir(parents=True, exist_ok=True)
    draw_confusion_matrix(val_y, model.predict(val_x), outputs / "confusion_matrix.png")
    save_weights(model, outputs / "model.npz")
    final = {name: value for name, value in metrics.items() if name != "step"}
    (outputs / "results.json").write_text(json.dumps({"epochs": arguments.epochs, **final}, indent=2) + "\n")


def report(metrics: dict[str, Any], epochs: int) -> None:
    """Print the metrics of an epoch, and hand them to launch."""
    values = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items() if name != "step")
    print(f"epoch {metrics['step']:>3}/{epochs}  {values}", flush=True)
    file = os.environ.get("LAUNCH_METRICS")
    if file:
        with open(file, "a") as lines:
            lines.write(json.dumps(metrics) + "\n")


def draw_confusion_matrix(expected: Any, predicted: Any, file: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from sklearn.metrics import confusion_matrix

    matrix = confusion_matrix(expected, predicted)
    figure = Figure(figsize=(5, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.imshow(matrix, cmap="Blues")
    axes.set(xlabel="predicted", ylabel="true", xticks=range(len(matrix)), yticks=range(len(matrix)))
    for row, line in enumerate(matrix):
        for column, count in enumerate(line):
            if count:
                color = "white" if count > matrix.max() / 2 else "black"
                axes.text(column, row, str(count), ha="center", va="center", color=color)
    figure.savefig(file, metadata={"Software": None})  # no version of matplotlib in the file


def save_weights(model: Any, file: Path) -> None:
    """Weights and biases as an .npz. Written by hand: numpy.savez puts the time of day into the archive."""
    import numpy as np

    layers = zip(model.coefs_, model.intercepts_, strict=True)
    with zipfile.ZipFile(file, "w") as archive:
        for number, (weights, biases) in enumerate(layers):
            for name, array in ((f"weights_{number}", weights), (f"biases_{number}", biases)):
                content = io.BytesIO()
                np.lib.format.write_array(content, array, allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0)), content.getvalue())


if __name__ == "__main__":
    main()
