"""A user's own arrays through the command: their layouts, their places, what is wrong with them."""

import json

import numpy as np
import pytest
from command import inside

pytestmark = pytest.mark.slow

WORDS = ["model.width=16", "train.steps=20", "cluster=inline", "data=npz"]
X = np.random.default_rng(0).standard_normal((6, 5))
Y = np.random.default_rng(1).standard_normal(5)


def hashes(*words, cwd):
    """Config hashes of the trials that these words mean."""
    done = inside("show", "--hash", *WORDS, *words, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return [line.split()[0] for line in done.stdout.splitlines()]


def test_a_file_has_one_hash_wherever_it_lies_and_layouts_of_the_same_numbers_one_result(tmp_path):
    folder = tmp_path / "with space é"
    folder.mkdir()
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    (folder / "my data [1].npz").write_bytes((tmp_path / "a.npz").read_bytes())
    (tmp_path / "link.npz").symlink_to(folder / "my data [1].npz")
    places = ["a.npz", str(folder / "my data [1].npz"), "link.npz"]
    digests = [hashes(f"data.path='{place}'", cwd=tmp_path) for place in places]
    assert digests[0] == digests[1] == digests[2]
    np.savez_compressed(tmp_path / "b.npz", x=np.asfortranarray(X.astype(">f8")), y=Y[::-1][::-1])
    words = ["run", *WORDS, f"data.path='{places[1]}','b.npz'", "--json"]
    done = inside(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    one, other = json.loads(done.stdout)["trials"]
    assert one["config_hash"] != other["config_hash"]  # an identity is the file's bytes
    for name, value in one["metrics"].items():
        if not name.startswith("time/"):
            assert other["metrics"][name] == pytest.approx(value, rel=1e-9, abs=1e-12), name


@pytest.mark.parametrize(
    ("arrays", "words", "message"),
    [
        ({"x": X, "y": Y.astype(object)}, [], "array y must hold real numbers, not object"),
        ({"x": X.astype(object), "y": Y}, [], "array x must hold real numbers, not object"),
        ({"x": X, "y": Y}, ["solver.tol=1e-300"], "float64 resolves (4.4e-16): raise it"),
    ],
)
def test_data_that_cannot_be_trained_on_is_refused_in_one_line(tmp_path, arrays, words, message):
    np.savez(tmp_path / "data.npz", **arrays)
    done = inside("run", *WORDS, "data.path=data.npz", *words, cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert message in line
    assert "pickle" not in line
    assert "set dtype=float64" not in line
    assert (f"data.path={tmp_path}/data.npz: " in line) == (not words)
    assert [path.name for path in tmp_path.iterdir()] == ["data.npz"]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_flipped_byte_is_refused_in_one_line(tmp_path, save):
    save(tmp_path / "data.npz", x=X, y=Y)
    damaged = bytearray((tmp_path / "data.npz").read_bytes())
    damaged[90] ^= 0xFF
    (tmp_path / "data.npz").write_bytes(damaged)
    done = inside("run", *WORDS, "data.path=data.npz", cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"data.path={tmp_path}/data.npz is damaged" in line
    assert [path.name for path in tmp_path.iterdir()] == ["data.npz"]


def test_an_infinite_loss_is_diverged(tmp_path):
    np.savez(tmp_path / "y155.npz", x=X, y=Y / abs(Y).max() * 1e155)
    done = inside("run", *WORDS, "data.path=y155.npz", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr  # divergence is a result
    (trial,) = json.loads(done.stdout)["trials"]
    assert trial["status"] == "diverged"
