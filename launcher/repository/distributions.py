"""Module → the distribution that has it, of those that experiments use; most, but not all, have one name."""

from __future__ import annotations

DISTRIBUTIONS = {
    name: name
    for name in (
        *("accelerate", "albumentations", "bitsandbytes", "catboost", "datasets", "deepspeed", "diffusers", "einops", "evaluate"),
        *("fire", "flax", "ftfy", "gensim", "gym", "gymnasium", "h5py", "imageio", "jax", "joblib", "jsonargparse", "keras"),
        *("lightgbm", "lightning", "loguru", "matplotlib", "mlflow", "networkx", "nltk", "numba", "numpy", "omegaconf", "optax"),
        *("optuna", "pandas", "peft", "plotly", "polars", "psutil", "pyarrow", "pydantic", "regex", "requests", "rich"),
        *(
            "safetensors",
            "sacrebleu",
            "scipy",
            "seaborn",
            "sentencepiece",
            "sentence_transformers",
            "shap",
            "spacy",
            "statsmodels",
        ),
        *("autograd", "cloudpickle", "click", "colorama", "cvxopt", "cvxpy", "dask", "dill", "gdown", "gpytorch", "hyperopt"),
        *("librosa", "mpi4py", "numpyro", "openai", "pygame", "ray", "replicate", "skorch", "soundfile", "stable_baselines3"),
        *("tabulate", "tensorly", "termcolor", "torchdiffeq", "torchsde", "tyro"),
        *("sympy", "tensorboard", "tensorboardX", "tensorflow", "tiktoken", "timm", "tokenizers", "torch", "torchaudio"),
        "typing_extensions",
        *("torchmetrics", "torchvision", "tqdm", "transformers", "trl", "typer", "wandb", "xgboost", "yacs", "torch_geometric"),
    )
} | {
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
