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
from sweeps.config.launch import PathsConfig
from sweeps.config.request import listed_trials, request
from sweeps.errors import ConfigError

if TYPE_CHECKING:
    import pandas

    from sweeps.driver.launch_result import Finished
    from sweeps.planning.plan import Plan


def compose(
    overrides: Sequence[str] = (), *, config_dir: str | Path | None = None
) -> deq.TrialConfig:
    """Compose Hydra overrides into one trial, resolved and validated.

    Args:
        overrides: as typed after `sweeps run`.
        config_dir: a folder of your own config files; conf/ in the current folder is used
            without being named.

    Raises:
        ConfigError: an override is wrong, or they give more than one trial.
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
    """Plan a sweep without starting or writing anything, as `sweeps run --dry-run`.

    Args:
        overrides: as typed after `sweeps run`.
        config_dir: as for `compose`.
        force: plan to train finished trials again.
        retry_failed: plan to retry trials that failed before.

    Returns:
        All trials, which of them are finished, and the packs of the others.

    Raises:
        ConfigError: an override is wrong, or a trial does not fit into memory.
    """
    from sweeps.driver.first_plan import dry_plan

    composed = request(overrides, config_dir)
    return dry_plan(composed, force=force, retry_failed=retry_failed)


def launch(
    overrides: Sequence[str] = (),
    *,
    config_dir: str | Path | None = None,
    force: bool = False,
    retry_failed: bool = False,
) -> "Finished":
    """Complete the sweep of these Hydra overrides, as `sweeps run`.

    Progress is printed to standard error. With Ray (cluster=local or ray) a script needs the
    usual `if __name__ == "__main__":`.

    Args:
        overrides: as typed after `sweeps run`.
        config_dir: as for `compose`.
        force: train finished trials again.
        retry_failed: retry trials that failed before.

    Returns:
        An object with plan, trained, lines (the outcome of each trial), links, failed,
        stopped, unsent, and waits: true while MLflow has not received everything, which is
        exit code 3 of `sweeps run`. `load` returns the results as a table.

    Raises:
        ConfigError: an override is wrong, there are no workers, or the output root is in
            use; nothing was started.
        TrackingError: MLflow cannot be reached; nothing was started.
        StoppedError: a person stopped the sweep with `sweeps stop`.
        ClusterLostError: the Ray cluster does not answer any more.
        DiskError: the disk is full or fails.
    """
    from sweeps.driver import run as runner
    from sweeps.driver.terminal import Terminal

    composed, terminal = request(overrides, config_dir), Terminal(stderr=True)
    return runner.launch(composed, overrides, terminal, force=force, retry_failed=retry_failed)


def load(sweep: str, *, output: str | Path | None = None) -> "pandas.DataFrame":
    """Load a sweep's trials into a data frame, one row each.

    Args:
        sweep: its name, or at least the first six digits.
        output: the output root that it was launched under; None: the default.

    Returns:
        Columns trial, config_hash, cell_hash, status, error; config keys such as
        `model.width`; metrics such as `rate/measured`. NaN where there is none.

    Raises:
        ConfigError: no sweep, or more than one, has a name that begins so.
    """
    from sweeps.driver.trial_states import outcomes_of_sweep
    from sweeps.planning.outcomes import frame

    root = PathsConfig(str(output)) if output else request(()).launch.paths
    return frame(outcomes_of_sweep(sweep, Path(root.output))).drop(columns="reused")


def load_trial(
    trial: str, overrides: Sequence[str] = (), *, output: str | Path | None = None
) -> deq.Trained:
    """Load the trained model of a trial whose weights were kept.

    The weights are read from the output root, else from the artifacts in MLflow. Of a trial
    that was only ever stopped early, the weights of the latest step are used.

    Args:
        trial: its config hash, or at least the first six digits.
        overrides: as typed after `sweeps run`, e.g. `tracking=server`.
        output: the output root that it was launched under; None: that of the overrides.

    Raises:
        ConfigError: no trial, or more than one, has a hash that begins so; or its weights
            were not kept, are damaged or belong to another trial.
        TrackingError: MLflow cannot be reached.
    """
    from sweeps.inspect.trained import trained_of

    launch = request(overrides).launch
    if output:
        launch = replace(launch, paths=PathsConfig(str(output)))
    return trained_of(trial, launch)
