"""The columns of tables have plain types."""

from typing import Any

import numpy as np
import pandas
import pytest

from tuner.study import tables
from tuner.tracking.epochs_file import Epochs
from tuner.tracking.facts import TrialRecord


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 2], "int64"),
        ([1, None], "float64"),
        ([1, 0.5], "float64"),
        ([0.5, None], "float64"),
        (["a", None], "str"),
        ([True, False], "bool"),
        ([True, None], "boolean"),
        # One choice of several kinds, as in `space.pooling=[null,2,max]`.
        ([None, 2, "max"], "object"),
        ([True, 1], "object"),
    ],
)
def test_plain_is_the_plainest_type_that_holds_all(values: list[Any], dtype: str) -> None:
    column = pandas.Series(tables.plain(values))
    assert str(column.dtype) == dtype
    assert [None if pandas.isna(value) else value for value in column] == values


def test_of_curves_puts_each_metric_into_its_column() -> None:
    table = tables.of_curves(
        [
            ("0001", Epochs(("loss", "val_loss"), [[1.0, 2.0], [0.5, None]])),
            ("0000", Epochs((), [])),
            ("0002", Epochs(("val_loss",), [[3.0]])),
        ]
    )
    assert table["trial"].tolist() == ["0001", "0001", "0002"]
    assert table["epoch"].tolist() == [1, 2, 1]
    np.testing.assert_array_equal(table["loss"], [1.0, 0.5, np.nan])
    np.testing.assert_array_equal(table["val_loss"], [2.0, np.nan, 3.0])


def test_of_trials_has_the_value_where_a_metric_has_its_name() -> None:
    values, metrics = {"epochs": 2, "learning_rate": 0.1}, {"learning_rate": 0.05, "loss": 1.0}
    trial = TrialRecord("0000", "run", "FINISHED", values, metrics, 0.0)
    table = tables.of_trials([trial])
    assert list(table.columns[3:-1]) == ["epochs", "learning_rate", "loss"]
    assert table["learning_rate"].tolist() == [0.1]


def test_of_trials_says_why_a_trial_has_fewer_epochs() -> None:
    metrics = {"epochs_trained": 2.0, "epochs_reused": 1.0}
    whole = TrialRecord("0000", "run", "FINISHED", {"epochs": 3}, metrics, 0.0)
    pruned = TrialRecord(
        "0001",
        "run",
        "FINISHED",
        {"epochs": 20},
        metrics,
        0.0,
        stopped="pruned",
        stopped_because="its best val_loss, 0.5, is worse",
    )
    stopped = tables.of_trials([whole, pruned])["stopped"]
    assert stopped.isna().tolist() == [True, False]
    assert stopped[1] == "pruned after epoch 3 of 20: its best val_loss, 0.5, is worse"


def test_tables_of_nothing_have_their_columns() -> None:
    assert list(tables.of_curves([]).columns) == ["trial", "epoch"]
    assert tables.of_curves([])["epoch"].dtype == np.int64
    assert list(tables.of_trials([]).columns) == ["trial", "state", "stopped", "run_id"]
