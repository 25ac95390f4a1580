"""What a program fetches while it runs: weights, data sets, tokenizers, reports to a service. Known by the calls that do so.

With the network, cache and secret that each needs: at `launch init`, and when a run failed for want of a network.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from launcher.repository.source_tree import SourceTree, calls, dotted, literal

_HOME = "/home/user"


class Service(NamedTuple):
    """Somebody who is asked over the network."""

    name: str
    cache: tuple[str, str] | None = None
    """Name and place in the container of what is kept between runs."""
    secret: str | None = None
    needed_for: str = ""
    """What the secret is needed for."""
    words: tuple[str, ...] = ()
    """By which what a failed program said is known to be about it."""


HUGGING_FACE = Service(
    "Hugging Face",
    ("huggingface", f"{_HOME}/.cache/huggingface"),
    "HF_TOKEN",
    "gated and private models",
    ("huggingface.co", "huggingface_hub", "hf.co"),
)
TORCH_HUB = Service("torch's hub", ("torch", f"{_HOME}/.cache/torch"), words=("download.pytorch.org", "torch/hub"))
TORCHVISION = Service("torchvision's data sets", words=("torchvision/datasets",))
NLTK = Service("NLTK", ("nltk", f"{_HOME}/nltk_data"), words=("nltk",))
KERAS = Service("Keras", ("keras", f"{_HOME}/.keras"), words=("keras", "storage.googleapis.com/tensorflow"))
SKLEARN = Service("scikit-learn's data sets", ("scikit_learn", f"{_HOME}/scikit_learn_data"), words=("sklearn/datasets",))
TFDS = Service("TensorFlow Datasets", ("tfds", f"{_HOME}/tensorflow_datasets"), words=("tensorflow_datasets",))
TIKTOKEN = Service("tiktoken", words=("tiktoken", "openaipublic"))
WANDB = Service("Weights & Biases", secret="WANDB_API_KEY", needed_for="reports there", words=("wandb",))
COMET = Service("Comet", secret="COMET_API_KEY", needed_for="reports there", words=("comet_ml",))
NEPTUNE = Service("Neptune", secret="NEPTUNE_API_TOKEN", needed_for="reports there", words=("neptune",))
KAGGLE = Service("Kaggle", secret="KAGGLE_KEY", needed_for="its data sets", words=("kaggle",))
WEB = Service("an address on the web", words=())

SERVICES = (HUGGING_FACE, TORCH_HUB, TORCHVISION, NLTK, KERAS, SKLEARN, TFDS, TIKTOKEN, WANDB, COMET, NEPTUNE, KAGGLE)

_KERAS_DATA = "mnist|fashion_mnist|cifar10|cifar100|imdb|reuters|boston_housing|california_housing"
_BY_CALL: tuple[tuple[re.Pattern[str], Service], ...] = tuple(
    (re.compile(pattern), service)
    for pattern, service in (
        (r".*\.from_pretrained", HUGGING_FACE),
        (r"(?:.*\.)?(?:load_dataset|hf_hub_download|snapshot_download|SentenceTransformer)", HUGGING_FACE),
        (r"(?:transformers\.)?pipeline", HUGGING_FACE),
        (r"torch\.hub\.load\w*|.*\.load_state_dict_from_url", TORCH_HUB),
        (r"nltk\.download", NLTK),
        (rf"(?:.*\.)?keras\.datasets\.\w+\.load_data|(?:{_KERAS_DATA})\.load_data|.*\.get_file", KERAS),
        (r"(?:.*\.)?fetch_(?:openml|california_housing|20newsgroups\w*|covtype|olivetti_faces|lfw_\w+|kddcup99|rcv1)", SKLEARN),
        (r"tfds\.load|tensorflow_datasets\.load", TFDS),
        (r"tiktoken\.(?:get_encoding|encoding_for_model)", TIKTOKEN),
        (r"wandb\.init|WandbLogger", WANDB),
        (r"comet_ml\.\w+", COMET),
        (r"neptune\.init\w*", NEPTUNE),
        (r"kagglehub\.\w+|kaggle\.api\.\w+", KAGGLE),
        (r"(?:urllib\.request\.|request\.)?(?:urlretrieve|urlopen)|requests\.get|wget\.download|gdown\.\w+", WEB),
    )
)
_VISION_DATA = re.compile(r"(?:torchvision\.)?datasets\.\w+|MNIST|FashionMNIST|CIFAR10|CIFAR100|SVHN|STL10|ImageNet")
_VISION_MODELS = re.compile(
    r"(?:.*\.)?(?:models\.\w+|(?:resnet|resnext|vgg|densenet|mobilenet|efficientnet|vit|swin|convnext)\w*)"
)


class Download(NamedTuple):
    """One place of the program that asks a service."""

    service: Service
    where: str
    """`train.py:12`"""
    call: str
    into: str | None = None
    """The directory that it names, relative to the working directory."""


def find_downloads(tree: SourceTree, files: tuple[str, ...]) -> tuple[Download, ...]:
    """The first of each service in *files*."""
    found: dict[str, Download] = {}
    for path in files:
        parsed = tree.module(path)
        for download in () if parsed is None else _in_module(parsed, path):
            found.setdefault(download.service.name, download)
    return tuple(found.values())


def _in_module(parsed: ast.Module, path: str) -> Iterator[Download]:
    for call in calls(parsed):
        name = dotted(call.func)
        if not name:
            continue
        where = f"{path}:{call.lineno}"
        if _asks_for(call, "download") and _VISION_DATA.fullmatch(name):
            yield Download(TORCHVISION, where, name, _directory(call))
        elif _asks_for(call, "pretrained") or (_asks_for(call, "weights") and _VISION_MODELS.fullmatch(name)):
            yield Download(HUGGING_FACE if name.startswith("timm.") else TORCH_HUB, where, name)
        else:
            yield from (Download(service, where, name) for pattern, service in _BY_CALL if pattern.fullmatch(name))


def _asks_for(call: ast.Call, word: str) -> bool:
    """`word=…` with anything but False and None."""
    return any(
        keyword.arg == word and not (isinstance(keyword.value, ast.Constant) and not keyword.value.value)
        for keyword in call.keywords
    )


def _directory(call: ast.Call) -> str | None:
    """What a data set of torchvision is told as its root."""
    named = next((keyword.value for keyword in call.keywords if keyword.arg == "root"), call.args[0] if call.args else None)
    value = literal(named)
    if not isinstance(value, str) or value.startswith(("/", "~", "..")):
        return None
    return value.removeprefix("./").rstrip("/") or None


def services_in(text: str) -> tuple[Service, ...]:
    """The services that *text*, a failed program's last words, is about."""
    return tuple(service for service in SERVICES if any(word in text for word in service.words))
