"""What the documentation site is made of besides the pages: MkDocs calls these functions.

Three things are added when the site is built. `configuration.md` gets its tables from the
schemas and from the comments in `conf/`: what a key means is written nowhere else. Pages that
live outside `docs/` (`CHANGELOG.md`, `CONTRIBUTING.md`, the benchmark's) become pages of the
site; a link between the two works on the site as well as in the repository. And the notebook
becomes a page, with the outputs that it keeps.
"""

import dataclasses
import html
import json
import re
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from tuner.config import schema
from tuner.config.executors import EXECUTORS
from tuner.config.searches import SEARCHES
from tuner.models import LIMITS, SPACES

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"

OUTSIDE = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "benchmarks/README.md",
    "benchmarks/RESULTS.md",
    "benchmarks/ENGINES.md",
    "benchmarks/search/RESULTS.md",
)
"""Pages of the site that live outside `docs/`, named from the project's root."""

GROUPS = {
    "data": "What is classified",
    "model": "What is trained, and its search space",
    "search": "Which trials are run",
    "executor": "Where the trials run",
    "tracking": "Where they are recorded",
    "registry": "Where the best model goes",
}
"""The configuration's groups, in the order of `conf/config.yaml`."""

COMMANDS = {
    "explore": schema.ExploreConfig,
    "commands/predict": schema.PredictConfig,
    "commands/promote": schema.PromoteConfig,
    "commands/report": schema.ReportConfig,
    "commands/delete": schema.DeleteConfig,
    "commands/simulate": schema.SimulateConfig,
    "commands/stop": schema.StopConfig,
    "commands/watch": schema.WatchConfig,
    "commands/demo": schema.DemoConfig,
    "commands/bench": None,
    "commands/bench_engines": None,
}
"""The configurations of the commands beside the search, with their schemas."""

SCHEMAS = {"data": schema.DataConfig, "tracking": schema.TrackingConfig}


@dataclasses.dataclass(frozen=True)
class Key:
    """One key of a file in `conf/`.

    Attributes:
        path: From the top of the file, such as `gate.metric`.
        default: Its value as it is written there; None for a mapping of other keys.
        meaning: The comment beside it.
    """

    path: str
    default: str | None
    meaning: str


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that live outside `docs/`, under the names they have there."""
    for name in OUTSIDE:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    notebook = json.loads((ROOT / "docs" / "tutorial.ipynb").read_text(encoding="utf-8"))
    text = "\n\n".join(as_markdown(notebook))
    files.append(File.generated(config, "tutorial.md", content=text))
    return files


def as_markdown(notebook: Mapping[str, Any]) -> Iterator[str]:
    """Yield the parts of a page that shows a notebook: its text, its code, its outputs."""
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            yield source
            continue
        yield f"```python\n{source}\n```"
        for output in cell["outputs"]:
            shown = output.get("data", {})
            if "text/html" in shown:
                yield f"<div>{''.join(shown['text/html'])}</div>"
            else:
                text = "".join(output.get("text", shown.get("text/plain", ""))).strip("\n")
                yield f"```text\n{text}\n```"


def on_page_markdown(text: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill `configuration.md`, and turn links so that they lead to the site's own pages."""
    source = page.file.src_uri
    if source == "configuration.md":
        text = text.replace("<!-- reference -->", "\n".join(reference()))
    if source in OUTSIDE:
        text = text.replace("](docs/", "](").replace("](../docs/", "](../")
        # The front door is the site's first page.
        return text.replace("](README.md", "](index.md") if "/" not in source else text
    return text.replace("](../", "](")


def reference() -> Iterator[str]:
    """Yield the lines of the configuration reference."""
    yield "## The study\n"
    yield "`conf/config.yaml`, besides the groups below.\n"
    yield from table(CONF / "config.yaml", schema.StudyConfig)
    for group, title in GROUPS.items():
        yield f"## `{group}`: {title[0].lower()}{title[1:]}\n"
        files = sorted((CONF / group).glob("*.yaml"))
        for path in files:
            if len(files) > 1:
                yield f"### `{group}={path.stem}`\n"
            yield f"{description(path)}\n"
            yield from table(path, schema_of(group, path.stem))
    yield "## `+experiment`: presets\n"
    for path in sorted((CONF / "experiment").glob("*.yaml")):
        yield f"### `+experiment={path.stem}`\n"
        yield f"{description(path)}\n"
        yield f"```yaml\n{body(path)}```\n"
    for name, its_schema in COMMANDS.items():
        path = CONF / f"{name}.yaml"
        command = re.search(r"app_name: (\S+)", path.read_text(encoding="utf-8"))
        assert command is not None
        yield f"## `{command[1]}`\n"
        yield f"{description(path)}\n"
        yield from table(path, its_schema)


def schema_of(group: str, option: str) -> type:
    """Return the dataclass that checks an option of a group."""
    tables: Mapping[str, Mapping[str, type]] = {"search": SEARCHES, "executor": EXECUTORS}
    if group in tables:
        return tables[group][option]
    if group == "registry":
        return schema.RegistryConfig
    return SCHEMAS.get(group, schema.StudyConfig)


def description(path: Path) -> str:
    """Return the comment at the top of a file, as one paragraph; commands become code."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            lines.append(line.removeprefix("#").strip())
    text = " ".join(lines)
    text = re.sub(r"(?<!`)((?:python -m|make) [^`]*)$", r"`\1`", text)
    return re.sub(r"(?<![`\w/])(docs/)(\w+\.md)", r"[\1\2](\2)", escaped(text))


def body(path: Path) -> str:
    """Return a file without the comment at its top."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    while lines and lines[0].startswith("#"):
        del lines[0]
    return "".join(lines)


def table(path: Path, its_schema: type | None) -> Iterator[str]:
    """Yield a table of a file's keys.

    Raises:
        PluginError: If a key has no comment: its meaning is written there and nowhere else.
    """
    group = path.parent.name if path.parent not in (CONF, CONF / "commands") else ""
    # A model's file sets keys at the top (`@package _global_`).
    prefix = "" if group in ("", "model") else f"{group}."
    yield '<div class="reference" markdown>\n'
    yield "| key | default | type | meaning |"
    yield "| --- | --- | --- | --- |"
    for key in keys(path):
        if not key.meaning:
            if key.default is None:
                continue
            raise PluginError(f"`{key.path}` in {path.relative_to(ROOT)} must have a comment.")
        default = "" if key.default is None else f"`{key.default}`"
        kind = "" if key.default is None else kind_of(key.path, path, its_schema)
        star = ".*" if key.default is None else ""
        yield f"| `{prefix}{key.path}{star}` | {default} | {kind} | {escaped(key.meaning)} |"
    yield "\n</div>\n"


def escaped(text: str) -> str:
    """Return a comment as Markdown: what looks like HTML or a table is text."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if part.startswith("`") else re.sub(r"([|*_])", r"\\\1", html.escape(part, False))
        for part in parts
    )


def keys(path: Path) -> list[Key]:
    """Return the keys of a file in their order, without Hydra's own."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    found: list[Key] = []
    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode)
    collect(root, "", lines, found)
    return found


def collect(node: yaml.MappingNode, prefix: str, lines: list[str], found: list[Key]) -> None:
    """Append the keys of a mapping, and of the mappings in it."""
    for name, value in node.value:
        if not prefix and name.value in ("defaults", "hydra"):
            continue
        path = f"{prefix}{name.value}"
        meaning = comment(name.start_mark, value, lines)
        # `{min: 2, max: 10}` is one value; keys on lines of their own are a group.
        if isinstance(value, yaml.MappingNode) and not value.flow_style:
            found.append(Key(path, None, meaning))
            collect(value, f"{path}.", lines, found)
        else:
            line = lines[value.start_mark.line]
            default = line[value.start_mark.column : value.end_mark.column]
            found.append(Key(path, default, meaning))


def comment(start: yaml.Mark, value: yaml.Node, lines: list[str]) -> str:
    """Return the comment beside a key, with the lines that carry it on, or the one above it."""
    line = lines[start.line]
    begin = start.column if isinstance(value, yaml.MappingNode) else value.end_mark.column
    place = line.find(" #", begin)
    if place >= 0:
        said = [line[place + 2 :].strip()]
        for following in lines[start.line + 1 :]:
            if following.find("#") != place + 1 or following.strip()[0] != "#":
                break
            said.append(following.strip().removeprefix("#").strip())
        return " ".join(said)
    above: list[str] = []
    for before in reversed(lines[: start.line]):
        if not before.startswith(" " * start.column + "#"):
            break
        above.insert(0, before.strip().removeprefix("#").strip())
    return " ".join(above) if start.column else ""


def kind_of(key: str, path: Path, its_schema: type | None) -> str:
    """Return what a key's value may be, as its schema says it."""
    if path.parent.name == "model" and key.startswith("space."):
        return limit_of(key.removeprefix("space.").replace(".", "_"), path)
    if its_schema is None:
        return ""
    # `tuner.promote` overrides keys of the study.
    return worded(flat(its_schema).get(key) or flat(schema.StudyConfig).get(key))


def flat(its_schema: type, prefix: str = "") -> dict[str, Any]:
    """Return the type of each key of a schema, those of its groups included."""
    found: dict[str, Any] = {}
    hints = typing.get_type_hints(its_schema)
    for field in dataclasses.fields(its_schema):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            found |= flat(typing.cast(type, hint), f"{prefix}{field.name}.")
        else:
            found[f"{prefix}{field.name}"] = hint
    return found


def limit_of(name: str, path: Path) -> str:
    """Return what a hyperparameter of a built-in model may be."""
    limit = {**LIMITS, **SPACES.get(f"tuner.models.{path.stem}.build", {})}.get(name)
    return "" if limit is None else str(limit).replace("_", r"\_")


NAMES = {str: "text", int: "whole number", float: "number", bool: "true or false"}


def worded(hint: Any) -> str:
    """Return a type hint in the words of a user: `int | None` is "whole number or null"."""
    if isinstance(hint, types.UnionType):
        return " or ".join(
            "null" if part is type(None) else worded(part) for part in hint.__args__
        )
    return "mapping" if dataclasses.is_dataclass(hint) else NAMES.get(hint, "")
