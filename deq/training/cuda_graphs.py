"""Parts of a GD step recorded as CUDA graphs, each replayed with one launch.

Small shapes leave a GPU waiting for the host: a step is about a hundred kernels, each of
which costs more to launch than to run. A graph replays kernels on the very storage they
were recorded with, while a step moves its states from storage to storage; so a recorded part
ends by copying them back to where they were.
"""

import logging
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor

from deq.training.pack import SCRATCH, Pack
from deq.training.state import State, put, state_of

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
# What makes a body into something that replays it; the body is carried out at replays only.
Record = Callable[[Callable[[], None]], Callable[[], None]]


def cuda_graph(body: Callable[[], None]) -> Callable[[], None]:
    """Record on the current device; raises RuntimeError if the body waits for it."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        body()
    replay: Callable[[], None] = graph.replay
    return replay


class Recording:
    """A pack whose parts of a step are recorded the first time they are asked for.

    Attributes:
        refused: the device could not record one; parts are carried out as they are.
    """

    def __init__(self, pack: Pack, record: Record = cuda_graph) -> None:
        self.pack, self.record = pack, record
        self._homes: State = {}  # where the pack's states are when a part begins and ends
        self._scratch: State = {}  # and the storage they are moved into meanwhile
        self._parts: dict[Any, tuple[Callable[[], None], Any]] = {}
        self.refused = False

    def __call__(self, key: Any, body: Callable[[], T]) -> T:
        """What `body` does to the pack, and what it returned when it was recorded.

        A part is known by `key`: it must do the same kernels every time. What it returns
        is overwritten by the next replay.
        """
        if self.refused:
            return body()
        self._come_home()
        if key not in self._parts and not self._recorded(key, body):
            return body()
        replay, result = self._parts[key]
        replay()
        returned: T = result
        return returned

    def _recorded(self, key: Any, body: Callable[[], T]) -> bool:
        """Record a part; False where the device refuses, and nothing has changed then."""
        results: list[T] = []

        def whole() -> None:
            results.append(body())
            self._come_home()

        try:
            replay = self.record(whole)
        except RuntimeError as error:
            self.refused = True
            self._go_home()
            _LOG.warning("steps are launched kernel by kernel, for recording fails: %s", error)
            return False
        self._parts[key] = (replay, results[0])
        return True

    def _come_home(self) -> None:
        """Copy the pack's states to where they belong; a pack of another shape moves house."""
        now = state_of(self.pack)
        there, here = list(_tensors(now)), list(_tensors(self._homes))
        if [t.shape for t in there] != [t.shape for t in here]:
            self._homes, self._parts = _copied(now), {}
            self._scratch = {name: list(getattr(self.pack, name)) for name in SCRATCH}
            return
        away = [(home, t) for home, t in zip(here, there, strict=True) if t is not home]
        # By way of copies: one state's storage may be another's home.
        for (home, _), t in zip(away, [t.clone() for _, t in away], strict=True):
            home.copy_(t)
        self._go_home()

    def _go_home(self) -> None:
        """Let the pack's attributes name the storage that its states belong to."""
        put(self.pack, _copied(self._homes))
        for name, buffers in self._scratch.items():
            setattr(self.pack, name, list(buffers))


def _tensors(state: Any) -> Iterator[Tensor]:
    """Every tensor of a state, in order."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, dict | list):
        for part in state.values() if isinstance(state, dict) else state:
            yield from _tensors(part)


def _copied(state: Any) -> Any:
    """The same tensors in dicts and lists of their own."""
    if isinstance(state, dict):
        return {key: _copied(part) for key, part in state.items()}
    return [_copied(part) for part in state] if isinstance(state, list) else state
