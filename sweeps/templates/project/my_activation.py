"""An activation of your own: `model.activation=my_activation:softsign`.

Derivative and constants are checked on a grid before training. The text of this file is part
of a trial's hash, so a changed file makes new trials.
"""

import deq

softsign = deq.Activation(
    name="softsign",
    function=lambda x: x / (1 + x.abs()),
    derivative=lambda x: 1 / (1 + x.abs()) ** 2,
    lipschitz=1.0,  # L = sup |phi'|
    curvature=2.0,  # M = sup |phi''|; math.inf if it is unbounded
    at_zero=0.0,  # phi(0)
    smooth=False,  # True if it is analytic
    bounded=1.0,  # sup |phi|; left out if it is unbounded
)
