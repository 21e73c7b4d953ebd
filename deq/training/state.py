"""The state that a computation carries from one step to the next, as plain data and tensors.

A class names in `STATE` the attributes that are its state. Attributes that can be rebuilt,
such as scratch storage, are not among them.
"""

from typing import Any

# By attribute: tensors, numbers, None, lists of those, and the states of parts.
State = dict[str, Any]


def state_dict(owner: Any) -> State:
    """Return the state of an object whose class has `STATE`; tensors are shared, not copied."""
    return {name: _value(getattr(owner, name)) for name in type(owner).STATE}


def load_state_dict(owner: Any, state: State) -> None:
    """Set an object's state to one that `state_dict` returned for another of its class."""
    for name in type(owner).STATE:
        part = getattr(owner, name, None)
        if hasattr(type(part), "STATE"):
            load_state_dict(part, state[name])
        else:
            setattr(owner, name, state[name])


def _value(value: Any) -> Any:
    return state_dict(value) if hasattr(type(value), "STATE") else value
