"""Searches whose trials are not trained."""

from sweeps.config.request import request
from sweeps.driver.sweep_state import SweepState, TrialStates
from sweeps.planning.outcomes import TrialOutcome
from sweeps.planning.plan import trials_of
from sweeps.storage.ledger import Failure, Result

SMALL = ["data=sphere", "data.n=8", "data.d=8", "model.width=32", "train.steps=60"]
SMALL += ["cluster=inline"]


class Imagined:
    """Trials that are not trained: `rate` gives their metric, None where they diverge."""

    def __init__(self, overrides, rate, metric="rate/measured"):
        self.asked = request([*SMALL, *overrides])
        self.cells = trials_of(self.asked)
        self.rate, self.metric, self.failing = rate, metric, set()
        self.results, self.rounds, self.more = {}, [], []

    def launch(self, most=1000, asked=()):
        """Launch it, for so many rounds at most; the sweep as it then stands."""

        def look(trials):
            known = {t.config_hash for t in trials} & set(self.results)
            return TrialStates({h: self.results[h] for h in known})

        sweep = SweepState(self.asked.launch, self.cells, look, asked=asked, retry_failed=False)
        planned = sweep.next_round()
        for _ in range(most):
            if not planned.packs:
                break
            trials = [trial for pack in planned.packs for trial in pack]
            self.rounds.append([trial.name for trial in trials])
            self.more.append(planned.more)
            sweep.record_results(planned, TrialStates(*self.train(trials)))
            planned = sweep.next_round()
        return sweep

    def train(self, trials):
        new, failures = {}, {}
        for trial in trials:
            value = self.rate(trial.varying)
            summary = {} if value is None else {self.metric: value}
            if trial.name in self.failing:
                failures[trial.config_hash] = Failure("ValueError: no", True)
            else:
                new[trial.config_hash] = Result("diverged" if value is None else "budget", summary)
        self.results |= new
        return new, failures

    def lines(self, sweep):
        pairs = [(t, self.results.get(t.config_hash)) for t in sweep.trials]
        return [
            TrialOutcome(t, r.status, r.summary) if r else TrialOutcome(t, "failed", error="no")
            for t, r in pairs
        ]
