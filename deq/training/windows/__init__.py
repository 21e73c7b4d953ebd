"""Many GD steps at once: the discrete trajectory of gradient descent, computed in windows.

docs/windows.md derives the equations. Terms that all modules here use:

- window: h consecutive GD steps, from step t to t + h, that are solved for together.
- node: one of the L = q + 1 steps of a window at which equilibria and adjoints are computed.
  Polynomials of degree q in tau = log(s + 10) go through them.
- present step: the GD step that the trial's weights are at; a window begins there.
- map: one application of the fixed-point maps of an equilibrium and of its adjoint.
- product: m x m by m x n, the unit of cost; a thin one, n x n by n x m, counts n / m of it.
- e: the error yhat - y, (n,). It is followed: computed at every step by a recursion.
- measured e: e computed from the equilibria at a node. The difference between both, kept in
  the forcing, corrects the recursion.
- tol: train.integrator_tol, the error that e may have at every step, relative to ||e||.
- floor: the part of ||e|| that rounding makes up. Below it an error cannot be measured.
- rejected window: one that is not right to tol, or costs too much. Nothing has moved then.

With a kinked activation (ReLU, leaky ReLU):

- entry: one pre-activation Q_i of one neuron and one sample. Its slope is one of two numbers.
- monitored entry: an entry that changes sign in the window, or may. It is followed like e.
- crossing: the entry changes sign once in a window.
- sliding: the entry changes sign several times and stays close to zero.
- undecided: the entry comes so close to zero that the window does not determine its side.
- weighty: undecided, and its slope changes the rate of the loss by more than 10 tol.
- passage: the last window that was taken, as far as weights inside it need it.
"""
