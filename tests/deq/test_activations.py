"""Checks that every activation must pass, built in or a user's own."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from deq import ACTIVATIONS, ModelConfig, activation_digest
from deq.activations.activation import Activation
from deq.activations.constants import KINKED, LIPSCHITZ
from deq.activations.lookup import activation
from deq.activations.properties import has_kink
from deq.activations.validation import check

SOFTSIGN = '''"""A user's own activation."""

import math

import torch

import deq

softsign = deq.Activation(
    name="softsign",
    function=torch.nn.functional.softsign,
    derivative=lambda x: (1 + x.abs()) ** -2,
    lipschitz=1.0,
    curvature=2.0,
    at_zero=0.0,
    smooth=False,
)
steep = deq.Activation(
    "steep", torch.tanh, lambda x: 1 - torch.tanh(x) ** 2, 0.9, 4 / (3 * math.sqrt(3)), 0.0, True
)
number = 3
'''
SWISH2 = Activation(  # x sigmoid(2x), smooth and of no closed form
    name="swish2",
    function=lambda x: x * torch.sigmoid(2 * x),
    derivative=lambda x: (s := torch.sigmoid(2 * x)) * (1 + 2 * x * (1 - s)),
    lipschitz=ACTIVATIONS["silu"].lipschitz,
    curvature=1.0,
    at_zero=0.0,
    smooth=True,
)
SOFTABS = Activation(  # whose slope nears 1 as slowly as 1 / x
    name="softabs",
    function=lambda x: x.abs() - torch.log1p(x.abs()),
    derivative=lambda x: x / (1 + x.abs()),
    lipschitz=1.0,
    curvature=1.0,
    at_zero=0.0,
    smooth=False,
)
ALL = [*ACTIVATIONS.values(), SWISH2, SOFTABS]
SMOOTH = [phi for phi in ALL if phi.smooth]
TANH, RELU = ACTIVATIONS["tanh"], ACTIVATIONS["relu"]
each = pytest.mark.parametrize("phi", ALL, ids=lambda phi: phi.name)
each_smooth = pytest.mark.parametrize("phi", SMOOTH, ids=lambda phi: phi.name)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A user's module on the path, under a different name in each test."""
    name = f"own_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(SOFTSIGN)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def points(dtype=torch.float64):
    return torch.linspace(-12, 12, 4001, dtype=torch.float64).add(1e-3).to(dtype)


def second(phi, x):
    x = x.clone().requires_grad_()
    slope = phi.derivative(x)
    if not slope.requires_grad:  # constant
        return torch.zeros_like(x).detach()
    return torch.autograd.grad(slope.sum(), x)[0]


@each
def test_every_activation_passes_its_checks(phi):
    check(phi)


@each
def test_the_derivative_agrees_with_autograd(phi):
    """To 4 units of rounding of max(|x|, 1)."""
    for dtype in (torch.float64, torch.float32):
        x = points(dtype).requires_grad_()
        (exact,) = torch.autograd.grad(phi.function(x).sum(), x)
        with torch.no_grad():
            miss = (phi.derivative(x) - exact).abs() / x.abs().clamp_min(1)
        assert float(miss.amax()) < 4 * torch.finfo(dtype).eps


@each
def test_float32_is_float64_rounded(phi):
    """To 4 units of rounding of max(|x|, 1)."""
    x = points(torch.float32)
    for f in (phi.function, phi.derivative):
        miss = (f(x).double() - f(x.double())).abs() / x.double().abs().clamp_min(1)
        assert float(miss.amax()) < 4 * torch.finfo(torch.float32).eps


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_values_far_out_are_finite_and_on_the_asymptote(phi, dtype):
    far = torch.tensor([-1e30, -1e4, -1e3, 1e3, 1e4, 1e30], dtype=dtype)
    value, slope = phi.function(far), phi.derivative(far)
    assert value.dtype == slope.dtype == dtype
    assert bool(value.isfinite().all())
    assert bool(slope.isfinite().all())
    assert float(slope.abs().amax()) <= phi.lipschitz * (1 + 1e-6)
    if phi.name in ("relu", "softplus", "gelu", "silu", "swish2"):
        assert torch.equal(value, far.clamp_min(0))
        assert torch.equal(slope, (far > 0).to(dtype))


def zoom(f, lower, upper):
    """The maximum of f, by refined grids around it."""
    for _ in range(12):
        x = torch.linspace(lower, upper, 20001, dtype=torch.float64)
        values = f(x)
        at = int(values.argmax())
        lower, upper = float(x[max(at - 2, 0)]), float(x[min(at + 2, 20000)])
    return float(values.max())


@each
def test_the_lipschitz_constant_to_rounding(phi):
    reach = 1e18 if phi is SOFTABS else 40.0
    greatest = zoom(lambda x: phi.derivative(x).abs(), -reach, reach)
    assert phi.lipschitz == pytest.approx(greatest, rel=4e-16)


@each
def test_the_supremum_to_rounding(phi):
    """Compare with |phi| out to 1e18; an unbounded one exceeds any number there."""
    greatest = zoom(lambda x: phi.function(x).abs(), -1e18, 1e18)
    if math.isinf(phi.bounded):
        assert greatest > 1e15
    else:
        peak = zoom(lambda x: phi.function(x).abs(), -40.0, 40.0)
        assert phi.bounded == pytest.approx(max(greatest, peak), rel=4e-16)


@each_smooth
def test_the_curvature_to_rounding(phi):
    """Compare with phi'' by autograd of phi', whose own rounding is 1e-14."""
    assert phi.curvature == pytest.approx(
        zoom(lambda x: second(phi, x).abs(), -40.0, 40.0), rel=1e-14
    )


def test_softplus_does_not_switch_to_x_too_early():
    """Torch's own threshold of 20 is wrong by 2e-9."""
    x = torch.tensor([21.0, 30.0, 39.0], dtype=torch.float64)
    for value, v in zip(ACTIVATIONS["softplus"].function(x).tolist(), x.tolist(), strict=True):
        assert value == pytest.approx(v + math.log1p(math.exp(-v)), rel=4e-16)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_default_variance_is_well_posed_and_the_limit_is_not(name):
    ModelConfig(activation=name)
    limit = 1 / (8 * ACTIVATIONS[name].lipschitz ** 2)
    ModelConfig(activation=name, sigma_w2=limit * (1 - 1e-12))
    with pytest.raises(ValueError, match="well-posedness"):
        ModelConfig(activation=name, sigma_w2=limit)


def twisted(x):
    return x.cumsum(-1)


@pytest.mark.parametrize(
    ("base", "change", "match"),
    [
        (TANH, {"lipschitz": 0.99}, "lipschitz is 0.99, but"),
        (TANH, {"lipschitz": 1.01}, "lipschitz is 1.01, but"),
        (TANH, {"lipschitz": math.inf}, "lipschitz must be"),
        (TANH, {"lipschitz": math.nan}, "lipschitz must be"),
        (TANH, {"curvature": 0.76}, "curvature is 0.76, but"),
        (TANH, {"curvature": 0.8}, "curvature is 0.8, but"),
        (TANH, {"curvature": math.inf}, "smooth=False"),
        (TANH, {"curvature": math.nan}, "curvature must be"),
        (TANH, {"at_zero": 1e-6}, "at_zero is 1e-06, but"),
        (TANH, {"polynomial": True}, "polynomial=True contradicts"),
        (ACTIVATIONS["identity"], {"polynomial": False}, "polynomial=False contradicts"),
        (TANH, {"derivative": lambda x: 1 - 0.9999 * torch.tanh(x) ** 2}, "derivative at x ="),
        (TANH, {"derivative": lambda x: torch.cosh(x) ** -2 * 0 + 1}, "derivative at x ="),
        (TANH, {"derivative": lambda x: x.exp() ** 2}, "derivative is not finite"),
        (TANH, {"function": torch.sin}, "derivative at x ="),
        (TANH, {"function": lambda x: x.exp() / (x.exp() + 1)}, "function is not finite"),
        (TANH, {"function": lambda x: torch.tanh(x).double()}, "function turns torch.float32"),
        (TANH, {"derivative": lambda x: torch.ones(x.shape[0])}, "derivative turns"),
        (TANH, {"function": torch.Tensor.tanh_}, "function changes or returns its argument"),
        (ACTIVATIONS["identity"], {"function": lambda x: x}, "changes or returns its argument"),
        (TANH, {"function": twisted}, "entry by entry"),
        (
            TANH,
            {"function": lambda x: x.sqrt().tanh()},
            "function is nan at x = -3 in torch.float64",
        ),
        (
            TANH,
            {"derivative": lambda x: 1 / (x > 1).to(x.dtype)},
            "derivative is inf at x = -3 in torch",
        ),
        (TANH, {"function": lambda x: x * x.tanh() / x}, "the function at 0 is nan"),
        (TANH, {"function": lambda x: x @ x}, "function fails: RuntimeError"),
        (RELU, {"curvature": 1.0}, "curvature is 1, but"),
        (RELU, {"derivative": lambda x: (x > -0.5).to(x.dtype)}, "derivative at x = -0.49"),
        (RELU, {"dual": ACTIVATIONS["leaky_relu"].dual}, r"dual says E\[phi\(u"),
        (TANH, {"bounded": 0.999}, "bounded is 0.999, but"),
        (TANH, {"bounded": 0.0}, "bounded must be"),
        (TANH, {"bounded": math.nan}, "bounded must be"),
        (RELU, {"bounded": 1e9}, r"bounded is 1e\+09, but"),
        (TANH, {"derivative_of_value": lambda t: 1 - t}, "derivative_of_value at x ="),
        (TANH, {"dual": ACTIVATIONS["erf"].dual}, r"dual says E\[phi\(u"),
        (TANH, {"dual": lambda q: q}, "dual fails: TypeError"),
    ],
)
def test_a_wrong_field_is_refused_in_one_line(base, change, match):
    with pytest.raises(ValueError, match=match) as error:
        check(dataclasses.replace(base, **change))
    assert "\n" not in str(error.value)


def test_an_own_activation_is_found_by_module_and_name(own):
    phi = activation(f"{own}:softsign")
    assert phi.name == "softsign"
    assert activation(f"{own}:softsign") is phi
    assert ModelConfig(activation=f"{own}:softsign").sigma_w2 == 0.08


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("{own}:steep", "steep: lipschitz is 0.9, but"),
        ("{own}:softsing", "'softsing' is missing.*softsign, steep"),
        ("{own}:number", "'number' is of type int, not a deq.Activation"),
        ("{own}:", "package.module:name"),
        (":softsign", "package.module:name"),
        ("a b:c", "package.module:name"),
        ("{own}_nowhere:softsign", "no module '.*_nowhere'"),
        ("{own}.deeper:softsign", "no module"),
        ("{own}", "unknown activation .* choose from relu"),
    ],
)
def test_a_missing_own_activation_is_refused(own, name, match):
    with pytest.raises(ValueError, match=match) as error:
        activation(name.format(own=own))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("source", "match"),
    [
        ("def f(:\n", "SyntaxError"),
        ("raise RuntimeError('one\\ntwo')", "RuntimeError: one two"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import no_such_library", "no module 'no_such_library'"),
    ],
)
def test_an_import_error_is_reported_in_one_line(own, tmp_path, source, match):
    (tmp_path / f"{own}.py").write_text(source)
    with pytest.raises(ValueError, match=match) as error:
        ModelConfig(activation=f"{own}:softsign")
    assert "\n" not in str(error.value)


def test_the_digest_is_of_the_source_and_is_checked(own, tmp_path):
    name, file = f"{own}:softsign", tmp_path / f"{own}.py"
    digest = activation_digest(name)
    assert len(digest) == 64
    ModelConfig(activation=name, activation_sha256=digest)
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert activation_digest(name) == digest
    file.write_text(SOFTSIGN.replace("number = 3", "number = 4"))
    assert activation_digest(name) != digest
    with pytest.raises(ValueError, match="not that of this config"):
        ModelConfig(activation=name, activation_sha256=digest)


def test_a_built_in_activation_has_no_digest():
    assert activation_digest("relu") == ""
    with pytest.raises(ValueError, match="not that of this config"):
        ModelConfig(activation="relu", activation_sha256="0" * 64)
    with pytest.raises(ValueError, match="unknown activation"):
        activation_digest("rleu")
    with pytest.raises(ValueError, match="no source text"):
        activation_digest("builtins:abs")


def test_constants_without_torch_equal_those_of_the_activations():
    assert list(LIPSCHITZ) == list(ACTIVATIONS)
    kinked = {name for name, phi in ACTIVATIONS.items() if math.isinf(phi.curvature)}
    assert kinked == KINKED == {name for name in ACTIVATIONS if has_kink(name)}


@pytest.mark.parametrize("name", ["tanh", "arctan"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_functions_by_numpy_are_right_to_rounding(name, dtype):
    """Within 1.5 units of rounding of long double, for every size and layout of x."""
    x = torch.cat([points(dtype), torch.logspace(-30, 2, 999, dtype=dtype), torch.zeros(1)])
    x = torch.stack([x, -x]).to(dtype)
    exact = getattr(np, name)(x.numpy().astype(np.longdouble))
    unit = np.spacing(np.abs(exact.astype(x.numpy().dtype))).astype(np.longdouble)

    value = ACTIVATIONS[name].function(x)

    assert float(np.max(np.abs(value.numpy() - exact) / unit)) <= 1.5
    assert torch.equal(ACTIVATIONS[name].function(x.T[::3]), value.T[::3])
