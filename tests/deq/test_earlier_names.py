"""Public names that were renamed are still there."""

import deq


def test_earlier_names_are_the_present_classes():
    assert deq.Course is deq.TrainingRun
    assert deq.Descent is deq.GradientDescent
    config = deq.TrialConfig(data=deq.SphereConfig(n=4, d=3), model=deq.ModelConfig(width=8))
    descent = deq.GradientDescent([config], [deq.load(config.data)])
    assert descent.courses is descent.runs
