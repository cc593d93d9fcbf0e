"""What the documentation shows is true.

Every block of shell, Python or YAML in the README and in `docs/` has its place in one of four
tables below: it is run here, run by another test, checked without being run, or a file that the
others use. A block that is in no table fails a test.
"""

import dataclasses
import itertools
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

import tuner
from support.commands import command, runs
from support.extending import ALONE, EXTENSIONS, LOCAL
from support.modules import module_at
from support.paths import ROOT
from tuner.config import compose as checks
from tuner.config import schema
from tuner.config.overrides import quoted, text_keys, with_open_keys
from tuner.datasets import ImageData, npz

OUTSIDE = tuple(
    ROOT / name
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md")
)
"""Pages outside `docs/`, which are read in the repository more than on the site."""

PAGES = (*OUTSIDE, *sorted((ROOT / "docs").glob("*.md")))

MAX_README = 200
QUICK = ("search=grid", "space.epochs=1", "space.batch_size=32")


@dataclasses.dataclass(frozen=True)
class Block:
    """A block of code in a page."""

    page: str
    language: str
    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text.splitlines()[0]}"


def blocks_of(page: Path) -> Iterator[Block]:
    found = re.findall(
        r'^``` ?(?:{ \.)?(sh|python|yaml)(?: title="(.*?)")?(?: })?\n(.*?)^```$',
        page.read_text(encoding="utf-8"),
        re.DOTALL | re.MULTILINE,
    )
    for language, title, text in found:
        if (included := re.fullmatch(r'--8<-- "(.+)"\n', text)) is not None:
            text = (ROOT / included[1]).read_text(encoding="utf-8")
        yield Block(page.relative_to(ROOT).as_posix(), language, title, text)


BLOCKS = [block for page in PAGES for block in blocks_of(page)]

# Each entry is a part of one block's text, or of the same block on several pages.

SEARCH = "'space.epochs=[2,4]' 'space.units=[64,128]' study=first"
STORY = {
    SEARCH: "Best of 8 trials: 00",
    "python -m tuner.predict images=drawings/ model=models:": "7/000.png",
    'classifier = tuner.load("mnist-classifier")': "(5, 10)",
    'study = tuner.open_study("first")': "val_accuracy",
    'mlflow.pyfunc.load_model("models:/mnist-classifier@champion")': "\n[",
    "python -m tuner.report drawings=drawings/": "experiments/first/report.html",
    "form = measure(training_images)": "",
    "python -m tuner.explore data=image_folder data.path=flowers": "flower 7",
    "from tuner.simulation import simulate": "tpe 0.",
    "python -m tuner.simulate study=first": "as it was",
    "python -m tuner.search --help": "+experiment: glassy",
    "search=bayesian search.max_trials=40 --cfg job": "max_trials: 40",
}
"""Run here as they stand, in this order and in one folder: part of what each prints."""

ELSEWHERE = {
    'numerals.npz",\n': "test_archive_of_the_images_page_can_be_searched_on",
    'tuner.run_study("data=digits"': "tests/test_tutorial.py, as a cell of the notebook",
    "# my_data.py": "test_loader_and_model_of_the_guide_run",
    "# my_models.py": "test_loader_and_model_of_the_guide_run",
    "# my_callbacks.py": "tests/test_told.py",
    "class LocalSearch(Oracle)": "tests/test_extension.py",
    "class AloneExecutor(Executor)": "tests/test_extension.py",
    "mlflow ui\n": "tests/test_mlflow_ui.py",
}
"""Run by a test of their own: this file's, or another's."""

FILES = {
    "my_conf/experiment/mine.yaml": None,
    "my_conf/search/local.yaml": LOCAL,
    "my_conf/executor/alone.yaml": ALONE,
}
"""Configurations that commands on the same page use, with the text that another test runs."""

CHECKED = {
    "python -m tuner.stop study=growing": "needs a study that runs; test_stop.py has one",
    "search=nsga2 'search.objective=[val_accuracy,num_parameters]'": (
        "a hundred trials; test_several_objectives.py has shorter searches"
    ),
    "search.constraints.num_parameters.max=20000": "test_ranking.py has searches with limits",
    "search.first=best:started": "test_starting_points.py has them",
    "make search\n": "ten trials; `make search` is what test_search.py runs",
    "make search      #": "the same, and the whole test suite",
    "make search ARGS=": "trains for minutes, and `make ui` does not end",
    "data=image_folder data.path=flowers data.name=flowers data.image_size=64 model=cnn": (
        "trains for minutes; test_folder_of_images_is_searched… runs a smaller one"
    ),
    "search=bayesian search.max_trials=30 search.max_minutes=20": "trains for minutes",
    "search.max_trials=21 'search.finalists={": "trains for minutes; test_finalist_study.py",
    "+experiment=quick_mnist\n": "downloads MNIST, and trains for minutes",
    "data=npz data.path=numerals.npz": "trains for minutes; the archive itself is read",
    "data=custom data._target_=my_data.load data.name=stripes": (
        "trains for minutes; test_loader_and_model_of_the_guide_run runs a smaller one"
    ),
    "model=custom model._target_=my_models.build": "the same",
    'make torture ARGS="--rounds 36"\n': "takes minutes; test_torture.py runs some of it",
    "'space.epochs=[2,4,8,16]' 'space.units=[32,64]' study=curves": (
        "trains for minutes; test_continuing.py runs smaller ones"
    ),
    "space.batch_size=64 'space.dropout=[0.0,0.2]'": "trains for minutes",
    "'space.optimizer=[adam,sgd]'": "trains for minutes",
    "search.repeats=5 study=repeated": "trains for minutes; driver/test_repeats.py",
    "search.pruner=median study=pruned": "trains for minutes; driver/test_pruning.py",
    "study=growing search.max_trials=20": "trains for minutes; driver/test_extend.py",
    "study=growing 'space.units=[64,128,256]'": "the same",
    "model=cnn 'space.transform=[rescale,thin]'": "trains for minutes",
    "search=asha search.max_trials=40": "trains for a minute; driver/test_rungs.py",
    "--config-dir my_conf +experiment=mine": "trains for minutes; test_wheel.py runs a preset",
    "--config-dir my_conf search=local study=mine": "trains for minutes; test_extension.py",
    "--config-dir my_conf executor=alone": "trains for minutes; test_extension.py",
    "'training.early_stopping={patience": "trains for minutes; test_told.py runs a smaller one",
    "'training.reduce_on_plateau={factor": "the same",
    "training.class_weight=balanced search.objective": "the same",
    "'training.callbacks=[my_callbacks.make]'": "the same",
    "-m seed=0,1,2 search=random,bayesian": "six studies",
    "-m 'study=${search.oracle}-${seed}'": "six studies",
    "python -m tuner.promote rollback=true": "needs two champions; test_promotion.py has them",
    "python -m tuner.delete study=first": "asks; test_deletion.py answers",
    "python -m tuner.watch": "does not end; test_watch_command.py runs it",
    "make demo": "does not end; test_demo.py and test_draw.py run it",
    "mlflow models serve": "does not end; test_serving.py runs it",
    "python -m benchmarks.drawings drawings": "trains on MNIST fifteen times",
    "make test-long": "runs this very suite, and more",
    'make bench ARGS="data.path': "takes an hour and a half",
    "make bench-search-curves": "takes minutes, and the tables half an hour each",
    "make bench-search-time": "takes hours; test_bench_search_time.py has its parts",
    'make bench-search ARGS="--judge"': "takes minutes, and its tables must be downloaded",
    "# some of the grid": "takes hours; test_bench.py and test_engine.py run some of it",
    "pip install '.[ray]'": "installs packages; test_ray.py runs the search",
    "python3 -m venv .venv": "installs packages",
    "ray start --head": "starts a cluster of several machines; test_ray.py starts its own",
    "ray start --address=head:6379": "needs another machine",
    "executor=ray executor.address=auto": "needs a cluster; test_ray.py has one",
}
"""Not run, and why: their commands are composed, or looked up where they are defined."""


def places(block: Block) -> list[str]:
    """Return the entries of all tables that a block belongs to."""
    if block.language == "yaml":
        return [title for title in FILES if title == block.title]
    return [part for part in (*STORY, *ELSEWHERE, *CHECKED) if part in block.text]


def found(part: str) -> Block:
    return next(block for block in BLOCKS if part in block.text)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_block_is_in_one_table(block: Block) -> None:
    assert len(places(block)) == 1, places(block)


def test_tables_have_no_entry_without_block() -> None:
    used = {place for block in BLOCKS for place in places(block)}
    assert {*STORY, *ELSEWHERE, *CHECKED, *FILES} == used


def test_readme_is_a_front_door() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MAX_README


# What is checked without being run.


@pytest.fixture(scope="module")
def guide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the guide has its readers write."""
    folder = tmp_path_factory.mktemp("guide")
    for block in BLOCKS:
        if block.title:
            path = folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
    return folder


def commands(text: str) -> list[list[str]]:
    """Return the words of each command in a block of shell."""
    lines = text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


SCHEMAS: dict[str, tuple[str, type, Callable[[Any], object]]] = {
    "search": ("config", schema.StudyConfig, checks.load),
    "explore": ("explore", schema.ExploreConfig, checks.load_explore),
    "predict": ("commands/predict", schema.PredictConfig, checks.load_predict),
    "promote": ("commands/promote", schema.PromoteConfig, checks.load_promote),
    "report": ("commands/report", schema.ReportConfig, checks.load_report),
    "delete": ("commands/delete", schema.DeleteConfig, checks.load_delete),
    "simulate": ("commands/simulate", schema.SimulateConfig, checks.load_simulate),
    "stop": ("commands/stop", schema.StopConfig, checks.load_stop),
    "demo": ("commands/demo", schema.DemoConfig, checks.load_demo),
    "watch": ("commands/watch", schema.WatchConfig, checks.load_watch),
}


PARSED = {
    "torture": "torture.run",
    "bench-search": "benchmarks.search.run",
    "bench-search-curves": "benchmarks.search.curves",
    "bench-search-time": "benchmarks.search.wall_time",
}

BENCHMARKS = {"bench": "commands/bench", "bench-engines": "commands/bench_engines"}


def composed(config: str, overrides: list[str]) -> DictConfig:
    path = ROOT / "conf" / config
    with initialize_config_dir(version_base="1.3", config_dir=str(path.parent)):
        return compose(path.name, overrides)


def check_overrides(name: str, arguments: list[str]) -> None:
    """Compose what `python -m tuner.<name>` is given, and check it as the command does."""
    config, its_schema, load = SCHEMAS[name]
    words = list(arguments)
    is_sweep = "-m" in words
    extra = []
    if "--config-dir" in words:
        place = words.index("--config-dir")
        extra = [f"hydra.searchpath=[file://{Path(words[place + 1]).resolve()}]"]
        del words[place : place + 2]
    for option in ("-m", "--help", "--cfg"):
        if option in words:
            place = words.index(option)
            del words[place : place + (2 if option == "--cfg" else 1)]
    keys = text_keys(its_schema)
    read = [quoted(with_open_keys(word), keys, is_sweep) for word in words]
    parsed = OverridesParser.create().parse_overrides(read)
    choices = [
        [f"{o.get_key_element()}={value}" for value in o.sweep_string_iterator()]
        if o.is_sweep_override()
        else [line]
        for o, line in zip(parsed, read, strict=True)
    ]
    for chosen in itertools.product(*choices):
        load(composed(config, [*chosen, *extra]))


MAKE = re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)


def check_make(words: list[str]) -> None:
    target, *variables = words
    assert target in MAKE
    for variable in variables:
        name, _, value = variable.partition("=")
        assert name == "ARGS"
        words = shlex.split(value)
        if target in ("search", "demo"):
            check_overrides(target, words)
        elif target in BENCHMARKS:
            composed(BENCHMARKS[target], words)
        elif target == "test":
            check_pytest(words)
        elif target in PARSED:
            check_parsed(PARSED[target], words)
        else:
            pytest.fail(f"No check for `make {target} ARGS=…`.")


def check_parsed(module: str, words: list[str]) -> None:
    """Look the options up in what a module says of itself."""
    said = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert all(word in said.stdout for word in words if word.startswith("-"))


def check_pytest(words: list[str]) -> None:
    """Look up the files and the marker that pytest is given."""
    marker = re.compile(r"(not )?(slow|long)")
    assert all(
        word == "-m" or marker.fullmatch(word) or (ROOT / word).exists() for word in words
    )


def check_options(group: Any, words: list[str]) -> None:
    """Look a command and its options up where Click has them."""
    while hasattr(group, "commands"):
        name, *words = words
        group = group.get_command(click.Context(group), name)
    known = {option for parameter in group.params for option in parameter.opts}
    given = {word.partition("=")[0] for word in words if word.startswith("-")}
    assert given <= known


def check_pip(words: list[str]) -> None:
    """Look up what is installed: an extra of this project, under this project's pins."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert words[0] == "install"
    for word in words[1:]:
        if (extra := re.fullmatch(r"\.\[(\w+)\]", word)) is not None:
            assert extra[1] in project["optional-dependencies"]
        else:
            assert word == "--constraint" or (ROOT / word).exists()


def check(words: list[str]) -> None:
    """Check one command without running it."""
    while re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    match words:
        case ["python", "-m", "benchmarks.drawings", _]:
            assert (ROOT / "benchmarks" / "drawings.py").is_file()
        case [".venv/bin/python", "-m", "benchmarks.engines", *arguments, ">", _]:
            composed("commands/bench_engines", arguments)
        case [".venv/bin/python", "-m", "benchmarks.search.make_tables" as module, *arguments]:
            check_parsed(module, arguments)
        case ["python", "-m", module, *arguments]:
            check_overrides(module.removeprefix("tuner."), arguments)
        case ["make", *arguments]:
            check_make(arguments)
        case ["mlflow", *arguments]:
            from mlflow.cli import cli

            check_options(cli, arguments)
        case ["ray", *arguments]:
            check_options(pytest.importorskip("ray.scripts.scripts").cli, arguments)
        case ["pip" | ".venv/bin/pip", *arguments]:
            check_pip(arguments)
        case ["python3", "-m", "venv", ".venv"]:
            pass
        case _:
            pytest.fail(f"No check for `{shlex.join(words)}`.")


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "sh"], ids=str)
def test_commands_of_a_block_can_be_given(
    block: Block, guide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(guide)
    monkeypatch.syspath_prepend(guide)
    for words in commands(block.text):
        check(words)


@pytest.mark.parametrize("title", [title for title, text in FILES.items() if text])
def test_configuration_of_the_guide_is_the_one_that_is_run(title: str) -> None:
    [block] = [block for block in BLOCKS if block.title == title]
    assert block.text.strip() == str(FILES[title]).strip()
    assert EXTENSIONS.is_dir()


@pytest.mark.parametrize("page", OUTSIDE, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_file(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.M)
            slugs = {
                re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in headings
            }
            assert anchor in slugs, f"{page.name} links to {target}"


# What is run.


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, digits: ImageData) -> Path:
    """A folder with the files that the guide assumes: a small `mnist.npz`, images, drawings."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("story")
    parts = {}
    for name, part, count in (("train", digits.train, 600), ("test", digits.test, 300)):
        large = np.kron(part.images[:count], np.ones((1, 3, 3), np.uint8))
        parts[f"x_{name}"] = np.pad(large, ((0, 0), (2, 2), (2, 2)))
        parts[f"y_{name}"] = part.labels[:count]
    np.savez(folder / "mnist.npz", **parts)
    for kind, path in (("drawings", "drawings/{}"), ("flowers", "flowers/flower {}")):
        for label in range(10):
            place = folder / path.format(label)
            place.mkdir(parents=True)
            of_class = parts["x_train"][parts["y_train"] == label]
            for i, image in enumerate(of_class[: 1 if kind == "drawings" else 12]):
                Image.fromarray(image).save(place / f"{i:03}.png")
    return folder


def run_block(block: Block, folder: Path) -> str:
    """Run a block as it stands, and return what it prints."""
    shell = ["bash", "-euc", block.text]
    interpreter = [sys.executable, "-c", block.text]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    places = f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"
    done = subprocess.run(
        shell if block.language == "sh" else interpreter,
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": places},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("part", STORY)
def test_block_of_the_guide_runs_as_it_stands(part: str, project: Path) -> None:
    assert STORY[part] in run_block(found(part), project)


def test_archive_of_the_images_page_can_be_searched_on(tmp_path: Path) -> None:
    run_block(found('numerals.npz",\n'), tmp_path)
    data = npz.read(tmp_path / "numerals.npz")
    assert data.class_names[9] == "nine"
    assert len(data.train) == 1400


@pytest.mark.slow
def test_loader_and_model_of_the_guide_run(tmp_path: Path) -> None:
    for name in ("my_data.py", "my_models.py"):
        (tmp_path / name).write_text(found(f"# {name}").text)
    done = command(
        tmp_path,
        "search",
        "data=custom",
        "data._target_=my_data.load",
        "data.name=stripes",
        "model=custom",
        "model._target_=my_models.build",
        "+space.filters=4",
        "+space.dropout=0.1",
        *QUICK,
        PYTHONPATH=f"{tmp_path}:{ROOT}",
    )
    assert done.returncode == 0, done.stderr
    assert "Registered as stripes-classifier version 1, now champion." in done.stdout
    [trial] = runs(tmp_path, "trial")
    assert trial.inputs.dataset_inputs[0].dataset.name == "stripes"


@pytest.mark.long
def test_folder_of_images_is_searched_with_a_cnn_that_thins_and_augments(
    tmp_path: Path, digits: ImageData
) -> None:
    from PIL import Image

    for split, part in (("train", digits.train), ("test", digits.test)):
        for label in range(10):
            folder = tmp_path / "images" / split / f"digit {label}"
            folder.mkdir(parents=True)
            for i in np.flatnonzero(part.labels == label)[:20]:
                Image.fromarray(part.images[i]).save(folder / f"{i}.png")
    done = command(
        tmp_path,
        "search",
        "data=image_folder",
        "data.path=images",
        "data.name=drawn",
        "model=cnn",
        "space.filters=4",
        "space.kernel_size=3",
        "space.transform=[rescale,thin]",
        "space.augment.shift=[0.0,0.1]",
        "space.augment.elastic=0.05",
        *QUICK,
        GLASSY_CACHE=str(tmp_path / "cache"),
    )
    assert done.returncode == 0, done.stderr
    trials = runs(tmp_path, "trial")
    assert {(t.data.params["transform"], t.data.params["augment_shift"]) for t in trials} == {
        (transform, shift) for transform in ("rescale", "thin") for shift in ("0.0", "0.1")
    }
    done = command(
        tmp_path,
        "predict",
        "images=images/test",
        "model=models:/drawn-classifier@champion",
        "show=true",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "digit 3/" in done.stdout
    with Image.open(tmp_path / "predictions.png") as sheet:
        assert sheet.size[0] > 500


# The site.


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    """`docs/hooks.py`, which is in no package."""
    pytest.importorskip("mkdocs", reason="needs mkdocs, which the extra `docs` has")
    return module_at(ROOT / "docs" / "hooks.py")


CONFIGURATION = """\
# A file.
defaults:
  - _self_
top: 1        # beside it,
              #   on two lines
group:        # all of them
  # Above it,
  # on two lines.
  inner: {min: 1, max: 2}
  quoted: "#"   # beside quotes
hydra:
  run: {dir: .}
"""


def test_keys_have_the_comments_beside_them(hooks: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text(CONFIGURATION, encoding="utf-8")
    assert [(key.path, key.default, key.meaning) for key in hooks.keys(path)] == [
        ("top", "1", "beside it, on two lines"),
        ("group", None, "all of them"),
        ("group.inner", "{min: 1, max: 2}", "Above it, on two lines."),
        ("group.quoted", '"#"', "beside quotes"),
    ]
    assert hooks.description(path) == "A file."


def test_key_without_comment_is_an_error(hooks: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text("key: 1\n", encoding="utf-8")
    hooks.ROOT = tmp_path
    with pytest.raises(Exception, match=r"`key` in some\.yaml must have a comment"):
        list(hooks.table(path, None))


def test_reference_has_every_key_of_the_schemas(hooks: ModuleType) -> None:
    text = "\n".join(hooks.reference())
    for schemas in (schema.StudyConfig, *hooks.SEARCHES.values(), *hooks.EXECUTORS.values()):
        for key in hooks.flat(schemas):
            group = "" if schemas is schema.StudyConfig else r"(search|executor)\."
            if key not in ("model", "space"):
                assert re.search(rf"^\| `{group}{re.escape(key)}` \|", text, re.M), key
    for name, its_schema in hooks.COMMANDS.items():
        section = text.partition(f"## `tuner.{Path(name).name}`")[2].partition("\n## ")[0]
        for field in dataclasses.fields(its_schema) if its_schema else ():
            # Explained in the group of that name.
            if (name, field.name) != ("explore", "data"):
                assert f"| `{field.name}" in section, (name, field.name)


@pytest.mark.slow
def test_site_is_built_without_a_broken_link(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="needs mkdocs, which the extra `docs` has")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    pages = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*.html")}
    texts = {name: path.read_text(encoding="utf-8") for name, path in pages.items()}
    for name, text in texts.items():
        # A reader without network sees the whole page.
        assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=.?https?:", text), name
        assert "--8&lt;--" not in text, name
    for name in tuner.__all__:
        assert f'id="tuner.{name}"' in texts["python.html"]
    assert "<code>registry.gate.max_class_drop</code>" in texts["configuration.html"]
