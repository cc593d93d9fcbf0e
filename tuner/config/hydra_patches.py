"""Two changes to Hydra: how it merges the space, and what it writes about a sweep.

A hyperparameter is replaced whole, never merged into.

OmegaConf merges a mapping into a mapping, so `space.units={min: 16, max: 64}` over
`{min: 32, max: 512, step: 32}` would silently keep the step; and it refuses to merge a list
into a mapping, so `space.epochs=[2,4]` over `{min: 2, max: 10}` would fail. Neither the command
line's grammar nor a preset's YAML can say "replace", so the one place that merges is patched.
"""

import re
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins import basic_sweeper
from omegaconf import OmegaConf
from omegaconf.basecontainer import BaseContainer

from tuner import passwords
from tuner.runtime import files

HYPERPARAMETER = re.compile(r"space\.(?!augment$)\w+|space\.augment\.\w+")

_merge_with = BaseContainer._merge_with


def _replace_or_merge(self: Any, *others: Any, **options: Any) -> None:
    """Stand in for `BaseContainer._merge_with`, through which every merge goes."""
    key = self._get_full_key(None)
    if others and HYPERPARAMETER.fullmatch(key):
        self._get_parent()[key.rpartition(".")[2]] = others[-1]
    else:
        _merge_with(self, *others, **options)


def replace_hyperparameters_whole() -> None:
    """Make OmegaConf replace what lies directly under `space`; calling it again is harmless."""
    BaseContainer._merge_with = _replace_or_merge  # type: ignore[method-assign]


class _OmegaConfWithoutPasswords(OmegaConf):
    """Stands in for `OmegaConf` where Hydra writes the whole configuration of a sweep."""

    @staticmethod
    def save(config: Any, f: Any, resolve: bool = False) -> None:
        files.write(Path(f), passwords.hide(OmegaConf.to_yaml(config, resolve=resolve)))
        passwords.protect(Path(f))


def write_sweeps_without_passwords() -> None:
    """Make Hydra hide passwords in `multirun.yaml`; calling it again is harmless."""
    basic_sweeper.OmegaConf = _OmegaConfWithoutPasswords  # type: ignore[attr-defined]
