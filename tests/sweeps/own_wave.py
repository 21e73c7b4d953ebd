"""An own activation, a sine, that acts while chosen trials train."""

import textwrap

import torch

import deq
from deq.theory.rejection_sampling import starting_weights
from sweeps.config.request import request

MODULE = """import os
import signal
import time
from pathlib import Path

import torch

import deq

HERE = Path(__file__).parent


def act(mark):
{action}


def sin(x):
    if x.dim() == 3:
        for mark in HERE.glob("*.mark"):
            if bool(((x[:, 0, 0] - float(mark.read_text())).abs() < 1e-12).any()):
                act(mark)
    return x.sin()


wave = deq.Activation("wave", sin, torch.cos, 1.0, 1.0, 0.0, True)
"""


def write_wave(path, action):
    """Write a module with the activation `wave`.

    Args:
        path: the file; another name in each test of a process.
        action: code that a marked trial runs at each evaluation; `mark` is its mark's path.
    """
    path.write_text(MODULE.format(action=textwrap.indent(action, "    ")))


def mark_trial(mark, words, seed):
    """Mark the trial of this seed, by its first pre-activation.

    Args:
        mark: a file NAME.mark beside the module.
        words: overrides of the sweep, one trial a seed.
        seed: the seed.
    """
    config = request(words).trials[seed].trial
    data = deq.load(config.data)
    _, u, _ = starting_weights([config], [data], torch.device("cpu"))
    mark.write_text(repr(float((u @ data.x)[0, 0, 0])))
