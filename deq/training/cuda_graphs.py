"""CUDA graphs of the parts of a GD step, each replayed with one launch.

A GD step of a small pack is about a hundred kernels, each of which takes longer to launch
than to run. A graph replays kernels on the storage that they were recorded with, while a
step moves its states from storage to storage. A recorded part therefore ends by copying the
states back to their own storage.
"""

import logging
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor

from deq.training.pack import SCRATCH, Pack
from deq.training.state import State, load_state_dict, state_dict

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
# Records a function and returns its replay; recording alone does not change any tensor.
Record = Callable[[Callable[[], None]], Callable[[], None]]


def cuda_graph(part: Callable[[], None]) -> Callable[[], None]:
    """Record `part` on the current device and return its replay.

    Raises:
        RuntimeError: `part` waits for the device.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        part()
    replay: Callable[[], None] = graph.replay
    return replay


class GraphRecorder:
    """Records the parts of a pack's GD step when they first run, and replays them later.

    Attributes:
        refused: recording failed; parts run directly from then on.
    """

    def __init__(self, pack: Pack, record: Record = cuda_graph) -> None:
        self.pack, self.record = pack, record
        self._states: State = {}  # storage of the pack's states at the ends of a part
        self._scratch: State = {}  # storage that states move into during a part
        self._graphs: dict[Any, tuple[Callable[[], None], Any]] = {}  # replay and result
        self.refused = False

    def __call__(self, key: Any, part: Callable[[], T]) -> T:
        """Run `part`, from its graph if there is one, and return its result.

        Args:
            key: identifies the part, which must launch the same kernels every time.
            part: changes the pack.

        Returns:
            What `part` returned when it was recorded; the next replay overwrites its tensors.
        """
        if self.refused:
            return part()
        self._restore_storage()
        if key not in self._graphs and not self._record(key, part):
            return part()
        replay, result = self._graphs[key]
        replay()
        returned: T = result
        return returned

    def _record(self, key: Any, part: Callable[[], T]) -> bool:
        """Record a part; False if the device refuses, and then the pack is unchanged."""
        results: list[T] = []

        def whole() -> None:
            results.append(part())
            self._restore_storage()

        try:
            replay = self.record(whole)
        except RuntimeError as error:
            self.refused = True
            self._point_to_storage()
            _LOG.warning("no CUDA graphs are used, kernels are launched singly: %s", error)
            return False
        self._graphs[key] = (replay, results[0])
        return True

    def _restore_storage(self) -> None:
        """Copy the states to their own storage. For a new shape: adopt it, drop the graphs."""
        now = state_dict(self.pack)
        current, own = list(_tensors(now)), list(_tensors(self._states))
        if [t.shape for t in current] != [t.shape for t in own]:
            self._states, self._graphs = _copy_containers(now), {}
            self._scratch = {name: list(getattr(self.pack, name)) for name in SCRATCH}
            return
        moved = [(home, t) for home, t in zip(own, current, strict=True) if t is not home]
        # Clone first: one state may lie in the storage of another.
        for (home, _), t in zip(moved, [t.clone() for _, t in moved], strict=True):
            home.copy_(t)
        self._point_to_storage()

    def _point_to_storage(self) -> None:
        """Set the pack's attributes to the storage that its states belong to."""
        load_state_dict(self.pack, _copy_containers(self._states))
        for name, buffers in self._scratch.items():
            setattr(self.pack, name, list(buffers))


def _tensors(state: Any) -> Iterator[Tensor]:
    """Yield every tensor of a state, in order."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, dict | list):
        for part in state.values() if isinstance(state, dict) else state:
            yield from _tensors(part)


def _copy_containers(state: Any) -> Any:
    """Copy the dicts and lists of a state; the tensors are shared."""
    if isinstance(state, dict):
        return {key: _copy_containers(part) for key, part in state.items()}
    return [_copy_containers(part) for part in state] if isinstance(state, list) else state
