"""Configurations of the data sets; without torch, so that they are validated quickly."""

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal


@dataclass(frozen=True, kw_only=True)
class CommonConfig:
    """Keys that all data sets have.

    Attributes:
        norm: norm of every input vector, without the entry of data.bias, in units of sqrt(d); d
            does not count that entry either. 1 in the papers.
        labels: labels y of the samples. own: the data set's labels; uniform: U(0, 1), independent
            of the input; single_index: relu(beta . x), beta a random unit vector, x the input
            without the entry of data.bias.
        label_seed: seed of the labels with data.labels=uniform, or of beta with single_index.
            Trials with different values of `seed` share these labels.
        bias: value of a constant entry that is appended to every input after normalisation: U has
            the biases as its last column, and d is one greater. 0: no biases.
    """

    norm: float = field(default=1.0, metadata={"absent_at": 1.0})
    labels: Literal["own", "uniform", "single_index"] = field(
        default="own", metadata={"absent_at": "own"}
    )
    label_seed: int = field(default=0, metadata={"absent_at": 0})
    bias: float = field(default=0.0, metadata={"absent_at": 0.0})

    def __post_init__(self) -> None:
        if not 0 < self.norm < math.inf:
            raise ValueError(f"norm must be finite and above 0, not {self.norm}")
        if not 0 <= self.bias < math.inf:
            raise ValueError(f"bias must be finite and at least 0, not {self.bias}")
        _check_seed(self.label_seed, "label_seed")
        if self.labels == "own" and self.label_seed:
            raise ValueError(
                "label_seed has no meaning with labels=own: leave it out, or set labels=uniform "
                "or labels=single_index"
            )


@dataclass(frozen=True, kw_only=True)
class ImagesConfig(CommonConfig):
    """Keys of two classes of a set of images.

    Attributes:
        centred: whether the mean of the n images is subtracted from every image. If it is not,
            one eigenvalue of the Gram matrix is far above all others, because pixels are not
            negative.
    """

    centred: bool = field(default=True, metadata={"absent_at": True})


@dataclass(frozen=True)
class DigitsConfig(ImagesConfig):
    """Handwritten digits bundled with scikit-learn: two classes, d = 64, labels -1 and 1.

    The first n/2 samples of each class (the first class has one more when n is odd),
    centred (the mean sample subtracted, see `centred`), each normalised to norm sqrt(d) times
    `norm`.

    Attributes:
        name: the data set.
        n: number of samples of both classes together.
        classes: the two digits; the first is labelled -1, the second 1.
        test_n: number of held-out samples, on which a trial's test losses are measured: the ones
            after the n training samples in each class. The mean of the training samples is
            subtracted from them.
    """

    name: Literal["digits"] = "digits"
    n: int = 64
    classes: tuple[int, int] = (0, 1)
    test_n: int = field(default=0, metadata={"absent_at": 0})

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_n(self.n, self.test_n)
        _check_classes(self.classes)


@dataclass(frozen=True)
class SphereConfig(CommonConfig):
    """Ling et al.'s synthetic set: uniform on a sphere, y ~ N(0, 1).

    Its radius is sqrt(d) times `norm`. The set has its own seed, so that trials with different
    seeds share it.

    Attributes:
        name: the data set.
        n: number of samples.
        d: dimension of a sample.
        seed: seed of the samples and of their labels.
        test_n: number of held-out samples, on which a trial's test losses are measured; they and
            their labels are drawn after the n training samples.
    """

    name: Literal["sphere"] = "sphere"
    n: int = 64
    d: int = 64
    seed: int = 0
    test_n: int = field(default=0, metadata={"absent_at": 0})

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_n(self.n, self.test_n)
        if self.d < 2:
            raise ValueError(f"d must be at least 2, not {self.d}")
        _check_seed(self.seed)


@dataclass(frozen=True)
class OrthonormalConfig(CommonConfig):
    """The first n unit vectors of R^d as inputs, times sqrt(d) and `norm`; y ~ N(0, 1).

    Any other n orthonormal vectors give the same networks in distribution, because U is
    Gaussian.

    Attributes:
        name: the data set.
        n: number of samples; n + test_n is at most d.
        d: dimension of a sample.
        seed: seed of the labels.
        test_n: number of held-out samples, on which a trial's test losses are measured: the unit
            vectors after the first n, with labels from N(0, 1).
    """

    name: Literal["orthonormal"] = "orthonormal"
    n: int = 64
    d: int = 64
    seed: int = 0
    test_n: int = field(default=0, metadata={"absent_at": 0})

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_n(self.n, self.test_n)
        if self.n + self.test_n > self.d:
            held_out = f" and test_n={self.test_n}" if self.test_n else ""
            raise ValueError(
                f"n={self.n}{held_out}: only d={self.d} vectors of R^d are orthogonal: raise d"
            )
        _check_seed(self.seed)


@dataclass(frozen=True)
class NpzConfig(CommonConfig):
    """A user's own arrays: `x` (d, n), samples as columns, and `y` (n,) in one .npz file.

    Columns are normalised to norm sqrt(d) times `norm`.

    Attributes:
        name: the data set.
        path: the .npz file with the arrays x and y. Its content is part of a trial's identity,
            by data.sha256; its location is not.
        n: number of samples to use, from the first; null: all but the held-out ones.
        sha256: SHA-256 of the file data.path. It is filled in when the trial is composed, and
            checked when the file is read.
        test_n: number of held-out samples, on which a trial's test losses are measured: the ones
            after the first n; with n null, the last ones of the file.
    """

    name: Literal["npz"] = "npz"
    # The digest, not the path, identifies the file.
    path: str = field(default="", metadata={"identity": False, "digest": "sha256"})
    n: int | None = None
    sha256: str = ""
    test_n: int = field(default=0, metadata={"absent_at": 0})

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_n(1 if self.n is None else self.n, self.test_n)
        if not self.path:
            raise ValueError("path is empty: give the .npz file, data.path=FILE")


@dataclass(frozen=True)
class OpenmlConfig(ImagesConfig):
    """Two classes of a set of images of OpenML; labels -1 and 1.

    As for `digits`: the first n/2 samples of each class in OpenML's order (the first
    class has one more when n is odd), centred (the mean sample subtracted, because pixels
    are not negative; see `centred`), each normalised to norm sqrt(d) times `norm`. The defaults
    are the 500 images of each of the classes 0 and 1 of Ling et al., who state that inputs are
    normalised and do not mention centring.

    Attributes:
        name: the data set.
        n: number of samples of both classes together.
        classes: the two classes of images; the first is labelled -1, the second 1.
        cache: folder of downloaded data sets; empty: `data` under the output root. It is not part
            of a trial's identity.
        sha256: SHA-256 of the samples before any change of colours, centring and normalisation,
            sample by sample, then of their labels, all as little-endian float64, the held-out ones
            last. It is filled in when the trial is composed, and checked when the samples are
            loaded.
        test_n: number of held-out samples, on which a trial's test losses are measured: the ones
            after the n training samples in each class. The mean of the training samples is
            subtracted from them.
    """

    name: str = ""
    n: int = 1000
    classes: tuple[int, int] = (0, 1)
    cache: str = field(default="", metadata={"identity": False})
    sha256: str = ""
    test_n: int = field(default=0, metadata={"absent_at": 0})

    data_id: ClassVar[int]

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_n(self.n, self.test_n)
        _check_classes(self.classes)


@dataclass(frozen=True)
class MnistConfig(OpenmlConfig):
    """MNIST: handwritten digits, 28 x 28, d = 784 (OpenML's mnist_784, version 1)."""

    name: Literal["mnist"] = "mnist"

    data_id: ClassVar[int] = 554


@dataclass(frozen=True)
class Cifar10Config(OpenmlConfig):
    """CIFAR-10: photographs, 32 x 32 in three colours, d = 3072 (OpenML's CIFAR_10).

    Attributes:
        grayscale: whether the three colours of a pixel are replaced by one luminance, 0.299 red +
            0.587 green + 0.114 blue (ITU-R BT.601), before centring and normalisation; then
            d = 1024.
    """

    name: Literal["cifar10"] = "cifar10"
    grayscale: bool = field(default=False, metadata={"absent_at": False})

    data_id: ClassVar[int] = 40927


DataConfig = (
    DigitsConfig | SphereConfig | OrthonormalConfig | NpzConfig | MnistConfig | Cifar10Config
)


def _check_n(n: int, test_n: int) -> None:
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    if test_n < 0:
        raise ValueError(f"test_n must be at least 0, not {test_n}")


def _check_seed(seed: int, name: str = "seed") -> None:
    if not 0 <= seed < 2**63:
        raise ValueError(f"{name} must be in 0 .. 2**63 - 1, not {seed}")


def _check_classes(classes: tuple[int, int]) -> None:
    if len(set(classes)) != 2 or not set(classes) <= set(range(10)):
        raise ValueError(f"classes must be two different ones of 0 .. 9, not {list(classes)}")
