"""What a report knows about a study."""

import dataclasses

from support.reports import made_up_study


def test_best_is_the_earlier_of_two_that_tie_however_many_trials_there_are() -> None:
    study = made_up_study(2)
    tied = [
        dataclasses.replace(study.trials[0], trial_id=trial_id)
        for trial_id in ("10000", "9999")
    ]
    assert dataclasses.replace(study, trials=tied).best.trial_id == "9999"
