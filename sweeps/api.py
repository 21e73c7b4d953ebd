"""Python functions for scripts and notebooks, available as `sweeps.NAME`.

>>> import sweeps
>>> config = sweeps.compose(["model.width=64", "model.activation=tanh"])
>>> sweeps.config_hash(config)[:12]
>>> sweeps.plan(["model.width=64,128", "seed=range(0,3)"]).left  # nothing is started
>>> done = sweeps.launch(["model.width=64,128", "seed=range(0,3)"])
>>> sweeps.load(done.plan.sweep).groupby("model.width")["rate/measured"].mean()
>>> sweeps.load_trial("3f2a9c41").predict(x)  # a trial of record.weights=true
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import deq
from sweeps.config.request import PathsConfig, listed_trials, request
from sweeps.errors import ConfigError

if TYPE_CHECKING:
    import pandas

    from sweeps.driver.driver import Finished
    from sweeps.planning.plan import Plan


def compose(
    overrides: Sequence[str] = (), *, config_dir: str | Path | None = None
) -> deq.TrialConfig:
    """The trial that these Hydra overrides mean, composed, resolved and checked.

    Args:
        overrides: as typed after `sweeps run`.
        config_dir: a folder of config files of your own; conf/ in the current folder is
            found without it.

    Raises:
        ConfigError: an override is wrong, or they mean more than one trial.
    """
    trials = listed_trials(request(overrides, config_dir))
    if len(trials) > 1:
        raise ConfigError(
            f"{len(trials)} trials: compose gives one; name one value of each axis, "
            "or run them all with `sweeps run`"
        )
    return trials[0].trial


def plan(
    overrides: Sequence[str] = (),
    *,
    config_dir: str | Path | None = None,
    force: bool = False,
    retry_failed: bool = False,
) -> "Plan":
    """What `launch` would do: its trials, which are finished, and the packs of the others.

    Nothing is started and nothing written; as `sweeps run --dry-run`.

    Raises:
        ConfigError: an override is wrong, or a trial cannot fit where it is to run.
    """
    from sweeps.driver.dry_run import dry_plan

    asked = request(overrides, config_dir)
    return dry_plan(asked, force=force, retry_failed=retry_failed)


def launch(
    overrides: Sequence[str] = (),
    *,
    config_dir: str | Path | None = None,
    force: bool = False,
    retry_failed: bool = False,
) -> "Finished":
    """Make the sweep that these Hydra overrides mean complete; as `sweeps run`.

    Progress goes to standard error. Where Ray trains (cluster=local or ray) a script needs
    the usual `if __name__ == "__main__":`.

    Args:
        overrides: as typed after `sweeps run`.
        config_dir: as of `compose`.
        force: train again what is finished.
        retry_failed: try again the trials that raised before.

    Returns:
        plan, trained, lines (what came of each trial), links, failed, stopped, unsent, and waits:
        true while MLflow has not taken all of it, which is exit code 3 of `sweeps run`.
        `load` makes a table of it.

    Raises:
        ConfigError: an override is wrong, there are no workers, or the output root is in
            use; nothing was started.
        TrackingError: MLflow cannot be reached; nothing was started.
        StoppedError: a person ended the sweep by `sweeps stop`.
    """
    from sweeps.driver import run as runner
    from sweeps.driver.terminal import Terminal

    asked, terminal = request(overrides, config_dir), Terminal(stderr=True)
    return runner.launch(asked, overrides, terminal, force=force, retry_failed=retry_failed)


def load(sweep: str, *, output: str | Path | None = None) -> "pandas.DataFrame":
    """A sweep's trials, one row each: identity, status, config keys and summary metrics.

    Args:
        sweep: its name, or six or more digits of it.
        output: the output root it was launched under; that of the defaults when None.

    Returns:
        Columns trial, config_hash, cell_hash, status, error; config keys as
        `model.width`; metrics as `rate/measured`. NaN where there is none.

    Raises:
        ConfigError: no sweep, or more than one, begins so.
    """
    from sweeps.driver.trial_states import outcomes_of_sweep
    from sweeps.planning.outcomes import frame

    root = PathsConfig(str(output)) if output else request(()).launch.paths
    return frame(outcomes_of_sweep(sweep, Path(root.output))).drop(columns="reused")


def load_trial(
    trial: str, overrides: Sequence[str] = (), *, output: str | Path | None = None
) -> deq.Trained:
    """The model of a trial whose weights were kept, as training left it.

    They are looked for under the output root, then among the artifacts in MLflow. Of a trial
    that was only ever stopped early, those of the latest step.

    Args:
        trial: its config hash, or six or more digits of it.
        overrides: as typed after `sweeps run`; such as `tracking=server`.
        output: the output root it was launched under; that of the overrides when None.

    Raises:
        ConfigError: no trial, or more than one, begins so; its weights were not kept, or
            the file of them is damaged or another trial's.
        TrackingError: MLflow cannot be reached.
    """
    from sweeps.inspect.trained import trained_of

    launch = request(overrides).launch
    if output:
        launch = replace(launch, paths=PathsConfig(str(output)))
    return trained_of(trial, launch)
