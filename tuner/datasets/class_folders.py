"""Folders of images as a data set: which folders are splits or classes, and which are neither.

`tuner.predict` reads the true class of a file by the same rule (`true_classes`).
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tuner.errors import DataError
from tuner.images import folders
from tuner.images.folders import Found, shown

logger = logging.getLogger(__name__)

SPLIT_NAMES = {
    "train": ("train", "training", "trn"),
    "validation": ("val", "valid", "validation", "validate", "dev"),
    "test": ("test", "tests", "testing", "tst", "eval", "evaluation", "holdout"),
}
"""Names of the three splits' folders, in upper or lower case and with `_set`, `-images` …"""

_ENDING = r"([ _-]?(set|data|dataset|split|images|imgs))?"
_PATTERNS = {
    split: re.compile(rf"({'|'.join(names)}){_ENDING}", re.IGNORECASE)
    for split, names in SPLIT_NAMES.items()
}


@dataclass(frozen=True)
class ClassFile:
    """An image in the folder of a class.

    Attributes:
        path: Path of the file.
        split: `train`, `validation` or `test`; `train` if no folder names a split.
        class_name: The folder's name, as valid text.
        stamp: Size in bytes and time of the last change in nanoseconds.
    """

    path: Path
    split: str
    class_name: str
    stamp: tuple[int, int]


@dataclass(frozen=True)
class ClassFolders:
    """A folder of images, read as a data set.

    Attributes:
        files: All images that have a class, split after split.
        class_names: The classes in natural order: `2` before `10`.
        left_out: One sentence per item that cannot be used.
    """

    files: tuple[ClassFile, ...]
    class_names: tuple[str, ...]
    left_out: tuple[str, ...]


def split_called(name: str) -> str | None:
    """Return the split that a folder's name stands for (`Training`: `train`), or None."""
    for split, pattern in _PATTERNS.items():
        if pattern.fullmatch(name):
            return split
    return None


def read(root: Path) -> ClassFolders:
    """Find the images in `<split>/<class>/`, or in `<class>/` alone, and all folders below.

    A test or validation folder without classes is not used, with a warning; nor is a folder
    that only holds files of other kinds.

    Raises:
        DataError: If there are fewer than two classes to learn, a class has no image, or
            folders of splits and of classes lie side by side.
    """
    kind = folders.kind_of(root)
    if kind != "folder":
        what = "is a file" if kind == "file" else kind
        raise DataError(
            f"`data.path` must be a folder with train/<class>/ and test/<class>/, or with "
            f"<class>/, but {shown(root)} {what}."
        )
    splits, loose = _splits(root)
    files: list[ClassFile] = []
    left_out = _loose(loose)
    names: dict[str, set[str]] = {}
    for split, folder in splits.items():
        content = _classes(root, folder)
        names[split] = {file.class_name for file in content.files}
        if split == "train":
            if len(names[split]) < 2:
                raise _too_few(folder, content)
        elif not names[split] or (len(names[split]) == 1 and names[split] - names["train"]):
            _say_unlabelled(split, folder)
            continue
        elif unknown := sorted(names[split] - names["train"], key=folders.natural):
            raise DataError(
                f"{shown(folder)} has the class {unknown[0]!r}, which {shown(splits['train'])} "
                f"lacks: no model could learn it."
            )
        files += [ClassFile(f.path, split, f.class_name, f.stamp) for f in content.files]
        left_out += content.left_out
    class_names = tuple(sorted(names["train"], key=folders.natural))
    return ClassFolders(tuple(files), class_names, tuple(left_out))


def true_classes(
    paths: Sequence[Path], root: Path, class_names: Sequence[str]
) -> list[str | None]:
    """Return the class that each file's folder or name gives; None for files without one.

    The class folders are the topmost in `root`, below those of splits, as in training:
    `7/batch/1.png` is a 7. If `root` contains none, it may itself be the folder of a class; so
    it is if it has the name of one, unless all folders in it have too. A file outside such
    folders may be named after its class, `7.png`, unless the files are just numbered, as a
    `10.png` among ten digits shows.

    Args:
        paths: Files in `root`, or `root` itself.
        root: The file or folder to be classified.
        class_names: The model's classes.
    """
    known = set(class_names)
    top = root.parent if list(paths) == [root] else root
    inside = [_below_splits(path.relative_to(top).parts[:-1], known) for path in paths]
    depth = next(
        (
            depth
            for depth, level in enumerate(itertools.zip_longest(*inside))
            if any(name in known for name in level)
        ),
        None,
    )
    above = [shown(part) for part in top.resolve().parts]
    own = above[-1] if above else ""
    if own in known and not (depth == 0 and _are_classes({p[0] for p in inside if p}, known)):
        return [own] * len(paths)
    if depth is not None:
        return [
            names[depth] if len(names) > depth and names[depth] in known else None
            for names in inside
        ]
    stems = [shown(path.stem) for path in paths]
    if any(stem.isdecimal() and stem not in known for stem in stems):
        known = {name for name in known if not name.isdecimal()}
    if known.intersection(above):
        # The files lie below the folder of a class: only its name could give the class.
        return [None] * len(paths)
    return [
        stem if stem in known and not names else None
        for stem, names in zip(stems, inside, strict=True)
    ]


def _are_classes(names: set[str], known: set[str]) -> bool:
    return len(names) > 1 and names <= known


def _below_splits(parts: Sequence[str], known: set[str]) -> list[str]:
    names = [shown(part) for part in parts]
    if names and names[0] not in known and split_called(names[0]):
        return names[1:]
    return names


def _splits(root: Path) -> tuple[dict[str, Path], Found]:
    """Return the folder of each split, and the images that lie in none of them."""
    children = folders.children(root)
    called: dict[str, list[Path]] = {"train": [], "validation": [], "test": []}
    others: list[Path] = []
    for folder in children.folders:
        split = split_called(folder.name)
        (others if split is None else called[split]).append(folder)
    named = [folder for several in called.values() for folder in several]
    if not named:
        return {"train": root}, Found((), ())
    if classes := [folder for folder in others if folders.images_below(folder, [root]).images]:
        raise DataError(
            f"{shown(root)} must hold folders of splits or folders of classes, but holds both: "
            f"{_listed(named)} and {_listed(classes)}. If all are classes, or "
            f"{_listed(classes)} should be learnt, put them into a folder train/."
        )
    for split, several in called.items():
        if len(several) > 1:
            raise DataError(
                f"{shown(root)} must hold one folder for each split, but {_listed(several)} "
                f"all say {split}. Move their classes into one of them."
            )
    if not called["train"]:
        raise DataError(
            f"{shown(root)} must hold a folder train/ next to {_listed(named)}, or only "
            f"folders of classes; a class with such a name must lie in a folder train/."
        )
    return {split: several[0] for split, several in called.items() if several}, children.loose


@dataclass(frozen=True)
class _Classes:
    files: tuple[ClassFile, ...]
    left_out: tuple[str, ...]


def _classes(root: Path, folder: Path) -> _Classes:
    """Return the images in the folders of classes in one folder."""
    children = folders.children(folder)
    files: list[ClassFile] = []
    left_out = _loose(children.loose)
    for of_class in children.folders:
        found = folders.images_below(of_class, [root, folder])
        left_out += found.left_out
        name = shown(of_class.name)
        if not found.images and found.num_others:
            logger.warning(
                "%s holds no images, only other files (%d), so it is not used.",
                shown(of_class),
                found.num_others,
            )
        elif not found.images:
            reasons = "".join(f"\n  {sentence}" for sentence in found.left_out[:10])
            raise DataError(
                f"{shown(of_class)} must hold images of the class {name!r}, but is empty."
                f"{reasons}"
            )
        files += [ClassFile(image.path, "", name, image.stamp) for image in found.images]
    return _Classes(tuple(files), tuple(left_out))


def _loose(loose: Found) -> list[str]:
    """Return a sentence for each item that is not in the folder of a class."""
    said = [f"{shown(image.path)} is not in the folder of a class." for image in loose.images]
    return said + list(loose.left_out)


def _too_few(folder: Path, content: _Classes) -> DataError:
    named = "".join(f"\n  {sentence}" for sentence in content.left_out[:10])
    return DataError(
        f"{shown(folder)} must hold a folder for each of at least two classes, but holds "
        f"{len({file.class_name for file in content.files})}.{named}"
    )


def _say_unlabelled(split: str, folder: Path) -> None:
    share = "data.test_split" if split == "test" else "data.validation_split"
    logger.warning(
        "%s has no folders of classes, so it is not used; %s sets aside a share of the images "
        "for %s instead.",
        shown(folder),
        share,
        "testing" if split == "test" else "validation",
    )


def _listed(several: Sequence[Path]) -> str:
    names = [f"{shown(folder.name)}/" for folder in several]
    more = f" and {len(names) - 5} more" if len(names) > 6 else ""
    return ", ".join(names[:5] if more else names) + more
