"""Train one DEQ on digits and compare it with theory; no Ray, no MLflow, no files.

python examples/one_deq.py
"""

import deq


def main() -> None:
    """Forecast and train a trial; print predicted and measured rates."""
    config = deq.TrialConfig(
        data=deq.DigitsConfig(n=32),
        model=deq.ModelConfig(width=128, activation="tanh"),
        train=deq.TrainConfig(steps=300),
    )
    data = deq.load(config.data)
    limit = deq.population(data.x, "tanh", sigma_w2=config.model.sigma_w2)
    print(f"as the width grows, lambda_min(G) / m tends to {limit.lambda_star:.4g}")

    outcome = deq.train(config, data)
    print(f"{outcome.status}: {outcome.reason}")
    for name in ("bound", "population", "asymptotic", "linearized", "measured"):
        if f"rate/{name}" in outcome.summary:
            print(f"{name:>12}: loss falls by {outcome.summary[f'rate/{name}']:.3e} a step")
    print(f"lambda_min(G(0)) / m = {outcome.summary['theory/lambda_0_over_m']:.4g}")


if __name__ == "__main__":
    main()
