"""The configuration as typed dataclasses, checked.

Hydra composes `conf/` and the command line into one `DictConfig`; `load` turns that into a
`StudyConfig`, once, and no other module sees Hydra's types. The schema is merged after
composing rather than stored in Hydra's ConfigStore, because `search` and `executor` have one
schema per alternative, and the alternative is known only then.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf, errors

from tuner.config import aliases, objectives
from tuner.config.bounds import check_at_least, check_between, check_one_of
from tuner.config.checks import (
    MAX_PORT,
    MAX_SEED,
    check_custom_objects,
    check_data,
    check_name,
    check_study,
)
from tuner.config.executors import EXECUTORS, ExecutorConfig
from tuner.config.overrides import expanded, text_keys
from tuner.config.printed_commands import word
from tuner.config.schema import (
    DeleteConfig,
    DemoConfig,
    ExploreConfig,
    PredictConfig,
    PromoteConfig,
    ReportConfig,
    SimulateConfig,
    StopConfig,
    StudyConfig,
    WatchConfig,
)
from tuner.config.searches import REPLAYED, SEARCHES, SearchConfig
from tuner.errors import ConfigError
from tuner.names import may_be_stopped
from tuner.runtime.user_code import find_function
from tuner.wording import did_you_mean


def load(composed: DictConfig) -> StudyConfig:
    """Check what Hydra composed and return it as plain dataclasses.

    Args:
        composed: The whole configuration, its interpolations not yet resolved.

    Raises:
        ConfigError: At the first thing wrong, naming the key, the value and what is allowed.
    """
    schema = OmegaConf.structured(StudyConfig)
    for key, entries, base in (
        ("search.oracle", SEARCHES, SearchConfig),
        ("executor.name", EXECUTORS, ExecutorConfig),
    ):
        entry = _find_entry(key, OmegaConf.select(composed, key), entries, base)
        schema[key.partition(".")[0]] = OmegaConf.structured(entry)
    config: StudyConfig = typed(composed, schema)
    objectives.resolve_gate(config)
    check_study(config)
    if config.model.get("custom_objects") is None:
        # The same as if the key were missing: no module is permitted.
        config.model.pop("custom_objects", None)
    return config


def _find_entry(key: str, name: object, entries: Mapping[str, type], base: type) -> type:
    """Return the dataclass of an oracle or executor: from its table, or the user's own."""
    if isinstance(name, str) and name in entries:
        return entries[name]
    if not isinstance(name, str) or "." not in name:
        raise ConfigError(
            f"`{key}` must be one of {', '.join(entries)}, or the dotted name of a class of "
            f"your own derived from {base.__name__}, but got {name!r}."
        )
    found: Any = find_function(key, name)
    if not (isinstance(found, type) and issubclass(found, base) and is_dataclass(found)):
        raise ConfigError(
            f"`{key}={name}` must be a dataclass derived from "
            f"{base.__module__}.{base.__name__}, but is {found!r}."
        )
    return found


def load_predict(composed: DictConfig) -> PredictConfig:
    """Check the configuration of `tuner.predict` and return it as plain dataclasses.

    Raises:
        ConfigError: At the first thing wrong.
    """
    config: PredictConfig = typed(composed, OmegaConf.structured(PredictConfig))
    check_custom_objects("custom_objects", config.custom_objects)
    return config


def load_demo(composed: DictConfig) -> DemoConfig:
    """Check the configuration of `tuner.demo` and return it as plain dataclasses.

    Raises:
        ConfigError: At the first thing wrong.
    """
    config: DemoConfig = typed(composed, OmegaConf.structured(DemoConfig))
    check_custom_objects("custom_objects", config.custom_objects)
    check_between("port", config.port, 0, MAX_PORT)
    check_at_least("max_upload_mb", config.max_upload_mb, 1)
    return config


def load_delete(composed: DictConfig) -> DeleteConfig:
    """Check the configuration of `tuner.delete` and return it as plain dataclasses.

    Raises:
        ConfigError: At the first thing wrong.
    """
    config: DeleteConfig = typed(composed, OmegaConf.structured(DeleteConfig))
    check_name(config.study)
    return config


def load_explore(composed: DictConfig) -> ExploreConfig:
    """Check the configuration of `tuner.explore` and return it as plain dataclasses.

    Raises:
        ConfigError: At the first thing wrong.
    """
    config: ExploreConfig = typed(composed, OmegaConf.structured(ExploreConfig))
    check_data(config.data)
    check_between("seed", config.seed, 0, MAX_SEED)
    if Path(config.picture).suffix.lower() != ".png":
        raise ConfigError(f"`picture` must be the name of a .png, but got {config.picture!r}.")
    return config


def load_promote(composed: DictConfig) -> PromoteConfig:
    """Check the configuration of `tuner.promote` and return it as plain dataclasses.

    Raises:
        ConfigError: At the first thing wrong.
    """
    config: PromoteConfig = typed(composed, OmegaConf.structured(PromoteConfig))
    check_custom_objects("custom_objects", config.custom_objects)
    asked = [config.study is not None, config.run is not None, config.rollback]
    if sum(asked) != 1:
        raise ConfigError(
            "Give exactly one of study=<name> (its best trial challenges the champion), "
            "run=<id> (that trial does) and rollback=true (the previous champion comes back)."
        )
    if config.trial is not None and config.study is None:
        raise ConfigError(
            f"`trial={config.trial}` needs its study: give study=<name> too, or the id of the "
            f"trial's run alone, as run=<id>."
        )
    _check_force(config)
    # Checked here, since a rollback does not read and check a study's whole configuration.
    if (name := config.registry.get("name")) is not None:
        aliases.check_model_name(str(name))
    if (alias := config.registry.get("alias")) is not None:
        aliases.check_alias(str(alias))
    return config


def load_stop(composed: DictConfig) -> StopConfig:
    """Check the configuration of `tuner.stop` and return it as plain dataclasses.

    Raises:
        ConfigError: At the first thing wrong.
    """
    config: StopConfig = typed(composed, OmegaConf.structured(StopConfig))
    check_name(config.study)
    if config.trial is not None and not may_be_stopped(config.trial):
        raise ConfigError(
            f"`trial` must be a trial's number such as 0007, or a finalist's name such as "
            f"0007-seed1, but got {config.trial!r}."
        )
    if config.trial is not None and config.now:
        raise ConfigError(
            "`now=true` ends a whole study; a trial always ends after the epoch under way: "
            "give either trial= or now=true."
        )
    return config


def load_simulate(composed: DictConfig) -> SimulateConfig:
    """Check the configuration of `tuner.simulate` and return it as plain dataclasses.

    Raises:
        ConfigError: At the first thing wrong.
    """
    config: SimulateConfig = typed(composed, OmegaConf.structured(SimulateConfig))
    check_name(config.study)
    if not config.searches:
        raise ConfigError(f"`searches` must name at least one of {', '.join(REPLAYED)}.")
    for search in config.searches:
        check_one_of("searches", search, REPLAYED)
    check_at_least("seeds", config.seeds, 1)
    check_at_least("workers", config.workers, 1)
    return config


def _check_force(config: PromoteConfig) -> None:
    has_reason = config.reason is not None and config.reason.strip() != ""
    if config.force and config.rollback:
        raise ConfigError("`force=true` has no use with rollback=true, which no gate judges.")
    if config.force and not has_reason:
        raise ConfigError(
            "`force=true` needs a reason, which is kept with the version: give "
            "reason='<why the gate is overruled>'."
        )
    if config.reason is not None and not config.force:
        raise ConfigError(
            "`reason` says why the gate is overruled, so it needs force=true: give that too, "
            "or leave the reason out."
        )


def load_watch(composed: DictConfig) -> WatchConfig:
    """Check the configuration of `tuner.watch` and return it as plain dataclasses.

    Raises:
        ConfigError: At the first thing wrong.
    """
    config: WatchConfig = typed(composed, OmegaConf.structured(WatchConfig))
    if config.study is not None:
        check_name(config.study)
    if config.port is not None:
        check_between("port", config.port, 0, MAX_PORT)
    return config


def with_settings(config: StudyConfig, settings: Mapping[str, object]) -> StudyConfig:
    """Return a study's configuration with some settings changed, and checked again.

    Args:
        config: The configuration that the study was searched with.
        settings: New settings, nested like it; None leaves a setting as it is.

    Raises:
        ConfigError: If a key is unknown or a value is not allowed.
    """
    changed = OmegaConf.create(to_dict(config))
    for key, value in flatten(settings).items():
        if value is not None:
            OmegaConf.update(changed, key, value, force_add=True)
    return load(changed)


def load_report(composed: DictConfig) -> ReportConfig:
    """Check the configuration of `tuner.report` and return it as plain dataclasses.

    Raises:
        ConfigError: At the first thing wrong.
    """
    config: ReportConfig = typed(composed, OmegaConf.structured(ReportConfig))
    for name in (names := named(config.study)):
        check_name(name)
        if names.count(name) > 1:
            raise ConfigError(f"`study={config.study}` must name different studies.")
    if config.output is not None and Path(config.output).suffix.lower() != ".html":
        raise ConfigError(f"`output` must be the name of a .html, but got {config.output!r}.")
    return config


def named(study: str | None) -> list[str]:
    """Return the studies that a key `study` names: `[first,second]` names two."""
    if study is None:
        return []
    is_list = study.startswith("[") and study.endswith("]")
    return [name.strip() for name in study[1:-1].split(",")] if is_list else [study]


def typed(composed: DictConfig, schema: DictConfig) -> Any:
    """Merge a composed configuration into its schema and return the schema's dataclasses.

    Raises:
        ConfigError: If a key is unknown, missing or of the wrong type.
    """
    try:
        if missing := sorted(OmegaConf.missing_keys(composed)):
            raise ConfigError(f"`{missing[0]}` is missing: give it as {missing[0]}=….")
        _check_text(composed, text_keys(cast(type, OmegaConf.get_type(schema))))
        return expanded(OmegaConf.to_object(OmegaConf.merge(schema, composed)))
    except errors.InterpolationToMissingValueError as error:
        # The key that is missing is the last word of the message.
        key = str(error).splitlines()[0].split()[-1]
        raise ConfigError(f"`{key}` is missing: give it as {key}=….") from error
    except errors.ConfigKeyError as error:
        known = [str(key) for key in error.parent_node or ()]
        raise ConfigError(unknown_key(str(error.full_key), str(error.key), known)) from error
    except errors.InterpolationResolutionError as error:
        what = str(error.msg or error).splitlines()[0].rstrip(".")
        raw = flatten(cast(dict[str, Any], OmegaConf.to_container(composed)))
        text = str(raw.get(str(error.full_key), "")).replace("${", "\\${")
        raise ConfigError(
            f"`{error.full_key}`: {what}. For text with ${{ in it: "
            f"{word(f'{error.full_key}={text}')}"
        ) from error
    except errors.OmegaConfBaseException as error:
        what = str(error.msg or error).splitlines()[0]
        hint = ""
        if "is not a subclass of" in what:
            raise ConfigError(
                f"`{error.full_key}` must be a mapping of keys, such as {{key: value}}, but "
                f"got {error.value!r}."
            ) from error
        if what.startswith("Incompatible value 'None' for field of type 'str'"):
            quoted = f'{error.full_key}="null"'
            hint = f" `null` is not allowed here; for the text itself: {word(quoted)}"
        raise ConfigError(f"`{error.full_key}`: {what.rstrip('.')}.{hint}") from error


def _check_text(composed: DictConfig, keys: Iterable[str]) -> None:
    """Refuse a number where a file of the configuration should hold text.

    YAML has by then read 1.10 as 1.1 and 2024_06_01 as 20240601: the original text is lost.
    """
    for key in sorted(keys):
        group, _, name = key.rpartition(".")
        node = OmegaConf.select(composed, group) if group else composed
        if not OmegaConf.is_dict(node) or name not in node:
            continue
        if OmegaConf.is_interpolation(node, name) or OmegaConf.is_missing(node, name):
            continue
        value = node[name]
        if isinstance(value, bool | int | float):
            raise ConfigError(
                f"`{key}` must be text, but is read as {value!r}: put it in quotes, as in "
                f'{key}: "{value}".'
            )


def unknown_key(key: str, name: str, known: Iterable[str]) -> str:
    """Word the message for a key that does not exist.

    Args:
        key: The whole key, such as `data.pathh`.
        name: Its last part.
        known: Names that could take the last part's place.
    """
    known = list(known)
    hint = did_you_mean(name, known, f"`{key[: len(key) - len(name)]}{{}}`")
    return f"`{key}` is not a key of the configuration. Known here: {', '.join(known)}.{hint}"


def to_dict(config: Any) -> dict[str, Any]:
    """Return a configuration as nested plain dictionaries, in the order of its fields."""
    return {
        field.name: to_dict(value) if is_dataclass(value) else value
        for field in fields(config)
        for value in [getattr(config, field.name)]
    }


_WHOLE = ("space.", "training.", "search.")
"""Groups whose mappings are settings, not groups of settings."""


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return `{"a": {"b": 1}}` as `{"a.b": 1}`, the form in which configurations are compared.

    A hyperparameter's range stays whole, and so does what a training or a search is told: each
    is one setting.
    """
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping) and value and prefix not in _WHOLE:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
