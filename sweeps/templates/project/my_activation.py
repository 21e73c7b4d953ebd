"""An activation of your own: `model.activation=my_activation:softsign`.

Derivative and constants are checked on a grid before anything is trained. Edit this file,
and its trials are new ones: its text is part of their hash.
"""

import deq

softsign = deq.Activation(
    name="softsign",
    function=lambda x: x / (1 + x.abs()),
    derivative=lambda x: 1 / (1 + x.abs()) ** 2,
    lipschitz=1.0,  # L = sup |phi'|
    curvature=2.0,  # M = sup |phi''|; math.inf where there is none
    at_zero=0.0,  # phi(0)
    smooth=False,  # whether it is analytic: no kink in any derivative
)
