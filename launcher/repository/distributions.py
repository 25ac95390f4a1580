"""Module → the distribution that has it, of those that experiments use; most, but not all, have one name."""

from __future__ import annotations

_OF_ONE_NAME = """
accelerate albumentations autograd bitsandbytes catboost click cloudpickle colorama cvxopt cvxpy dask datasets deepspeed
diffusers dill einops evaluate fire flax ftfy gdown gensim gpytorch gym gymnasium h5py hyperopt imageio jax joblib
jsonargparse keras librosa lightgbm lightning loguru matplotlib mlflow mpi4py networkx nltk numba numpy numpyro omegaconf
openai optax optuna pandas peft plotly polars psutil pyarrow pydantic pygame ray regex replicate requests rich sacrebleu
safetensors scipy seaborn sentence_transformers sentencepiece shap skorch soundfile spacy stable_baselines3 statsmodels sympy
tabulate tensorboard tensorboardX tensorflow tensorly termcolor tiktoken timm tokenizers torch torch_geometric torchaudio
torchdiffeq torchmetrics torchsde torchvision tqdm transformers trl typer typing_extensions tyro wandb xgboost yacs
"""
DISTRIBUTIONS = {name: name for name in _OF_ONE_NAME.split()} | {
    "absl": "absl-py",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "git": "GitPython",
    "google.protobuf": "protobuf",
    "hydra": "hydra-core",
    "lightning_fabric": "lightning",
    "OpenSSL": "pyOpenSSL",
    "PIL": "pillow",
    "pkg_resources": "setuptools<81",
    "pytorch_lightning": "pytorch-lightning",
    "pyro": "pyro-ppl",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "tensorflow_datasets": "tensorflow-datasets",
    "unidecode": "Unidecode",
    "yaml": "pyyaml",
}
"""Module → the distribution that has it. Of others nobody knows which one is meant: a name in the index is a name, no more."""

PARTS = {
    "torch.utils.tensorboard": "tensorboard",
    "tensorflow.keras": "tensorflow",
    "lightning.pytorch.loggers.tensorboard": "tensorboard",
    "lightning.pytorch.loggers.wandb": "wandb",
}
"""Modules that another distribution than their package's has to be there for."""
