"""The door to Ray: packs of trials in, events on them out."""
