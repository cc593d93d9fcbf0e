"""Configurations, composed from `conf/` as the commands compose them."""

from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from support.paths import CONF
from tuner.config.compose import load
from tuner.config.schema import StudyConfig

# What a user must say beside the option itself.
REQUIRED = {
    "data=npz": ["data.path=images.npz"],
    "data=image_folder": ["data.path=images", "data.name=mine"],
    "model=custom": ["model._target_=my_package.my_function"],
    "data=custom": ["data._target_=my_package.load", "data.name=mine"],
}

CUSTOM = ["model=custom", *REQUIRED["model=custom"]]


def composed(*overrides: str, name: str = "config") -> DictConfig:
    folder = (CONF / name).parent
    with initialize_config_dir(version_base="1.3", config_dir=str(folder)):
        return compose(Path(name).name, list(overrides))


def loaded(*overrides: str) -> StudyConfig:
    return load(composed(*overrides))
