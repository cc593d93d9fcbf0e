"""A version's description on the registry's page, as Markdown."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from tuner.escapes import markdown_cell
from tuner.evaluation.measures import accuracy_interval
from tuner.evaluation.racing import Race
from tuner.registry.judging import Judgement
from tuner.trial import Values

NUM_WORST = 3
"""Number of classes that are named as the worst."""


def write(
    name: str,
    version: str,
    trial: str,
    data: str,
    digest: str,
    values: Values,
    judgement: Judgement,
    race: Race | None = None,
) -> str:
    """Return a version's description.

    Args:
        name: Name of the registered model.
        version: The version's number.
        trial: Study and trial that it comes from.
        data: Name of the data set.
        digest: Digest of the data.
        values: The values it was trained with.
        judgement: Its results on the test split.
        race: The finalists that its trial has won against; None if it was not trained again.
    """
    measured, profile = judgement.decision.challenger, judgement.profile
    num_right, num_test = int(measured.hits.sum()), len(measured.hits)
    low, high = accuracy_interval(num_right, num_test)
    rows = {
        "Task": f"classify images into {len(judgement.class_names)} classes: "
        f"{_list(judgement.class_names)}",
        "Input": f"raw images, uint8 from 0 to 255, {_shape(profile)}",
        "Output": f"probabilities of the classes, float32 (n, {len(judgement.class_names)})",
        "Data": f"{data}: {profile['num_train']:,} training, {profile['num_validation']:,} "
        f"validation and {num_test:,} test images; digest {digest}",
        "Values": ", ".join(f"{key}={value}" for key, value in values.items()),
        **_validation(race),
        "Test accuracy": f"{measured.accuracy:.2%} ({num_right:,} of {num_test:,}); "
        f"with 95 % confidence between {low:.2%} and {high:.2%}",
        "Worst classes": _worst(judgement),
        "Size": f"{measured.num_parameters:,} parameters",
        "Origin": trial,
    }
    if (forced := judgement.decision.forced) is not None:
        rows["Promoted against the gate"] = forced
    table = "\n".join(f"| {key} | {markdown_cell(value)} |" for key, value in rows.items())
    return (
        f"An image classifier for {markdown_cell(data)}.\n\n| | |\n| --- | --- |\n{table}\n\n"
        f"```python\nimport tuner\n\n"
        f"model = tuner.load({json.dumps(f'models:/{name}/{version}', ensure_ascii=False)})\n"
        f"labels = model.predict(images)\n```\n"
    )


def _validation(race: Race | None) -> dict[str, str]:
    if race is None:
        return {}
    said = str(race).removeprefix(f"{race.objective.name} ")
    lead = f". {race.lead}" if race.lead is not None else ""
    return {f"{race.objective.name} of these values": f"{said}{lead}"}


def _worst(judgement: Judgement) -> str:
    recalls = judgement.decision.challenger.recalls
    # NaN, a class without test images, comes last.
    worst = [i for i in np.argsort(recalls)[:NUM_WORST] if not np.isnan(recalls[i])]
    return ", ".join(f"{judgement.class_names[i]} ({recalls[i]:.1%} right)" for i in worst)


def _shape(profile: Mapping[str, Any]) -> str:
    return f"shape (n, {', '.join(map(str, profile['image_shape']))})"


def _list(names: tuple[str, ...]) -> str:
    most = 20
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
