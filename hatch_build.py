"""Puts `conf/` into the wheel, inside the package; in the clone it lies at the top."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ConfInPackage(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the folder to wheels, but not to editable installs, which use the clone's."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Take part in a build; `version` is `standard` or `editable`."""
        if version == "standard":
            build_data["force_include"]["conf"] = "tuner/conf"
