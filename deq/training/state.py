"""What a computation remembers from one step to the next, as plain data and tensors.

A class names in `STATE` the attributes that are its state. What it can make anew, such as
scratch storage, is not among them.
"""

from typing import Any

# By attribute: tensors, numbers, None, lists of those, and the states of parts.
State = dict[str, Any]


def state_of(thing: Any) -> State:
    """The state of an object whose class has `STATE`; tensors are shared, not copied."""
    return {name: _taken(getattr(thing, name)) for name in type(thing).STATE}


def put(thing: Any, state: State) -> None:
    """Give an object the state that `state_of` took of another of its class."""
    for name in type(thing).STATE:
        part = getattr(thing, name, None)
        if hasattr(type(part), "STATE"):
            put(part, state[name])
        else:
            setattr(thing, name, state[name])


def _taken(value: Any) -> Any:
    return state_of(value) if hasattr(type(value), "STATE") else value
