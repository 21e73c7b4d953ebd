"""Tables on terminals of any width, and where the output is no terminal."""

import io
import os
import re
import signal
import sys
from unittest import mock

import pytest

from sweeps.cli.streams import prepare_streams
from sweeps.driver.terminal import Terminal
from sweeps.metrics import shown

HASH = "5f3a90c1d2e4"
RUN = ["trial", "status", *shown.headings(shown.OF_TRIALS)]
TRIAL = ["hash", "trial", "state", "note"]
NAME = "my_activations_of_today:softsign width=1024 sigma_w2=0.08"
NOTE = "stopped by jo; resume continues at step 10413 [of 20000]"


@pytest.mark.parametrize("unbuffered", [False, True])
def test_text_that_nobody_reads_is_discarded(unbuffered, monkeypatch):
    """As after `| head`, which leaves before the command ends."""
    reader, writer = os.pipe()
    with io.FileIO(writer, "w") as raw:
        buffer = raw if unbuffered else io.BufferedWriter(raw)
        piped = io.TextIOWrapper(buffer, "ascii", write_through=unbuffered)
        monkeypatch.setattr(sys, "stdout", piped)
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        prepare_streams()
        print("\xd6", flush=True)
        assert os.read(reader, 99) == b"\\xd6\n"
        os.close(reader)
        for _ in range(2):
            print("more", flush=True)


class Screen(io.StringIO):
    """Standard output that says whether it is a terminal."""

    def __init__(self, is_terminal):
        super().__init__()
        self.isatty = lambda: is_terminal


def printed(header, rows, *, columns, is_terminal=True, **how):
    """The lines of a table on a terminal of so many columns."""
    screen = Screen(is_terminal)
    with (
        mock.patch.object(sys, "stdout", screen),
        mock.patch.dict("os.environ", COLUMNS=str(columns), TERM="xterm"),
    ):
        Terminal().table(header, rows, **how)
    return re.sub(r"\x1b\[\d*m", "", screen.getvalue()).splitlines()


@pytest.mark.parametrize("columns", [40, 60, 80, 130, 200])
@pytest.mark.parametrize(
    ("header", "rows", "left", "whole"),
    [
        (RUN, [[f"relu seed={i}", "converged", *["0.001634"] * 7] for i in "01"], 2, "converged"),
        (TRIAL, [[HASH, "relu seed=0", "converged", NOTE]], 4, HASH),
        (TRIAL, [[HASH, NAME, "stopped by a person", ""]], 4, HASH),
    ],
)
def test_a_narrow_terminal_shows_names_and_states_in_full(header, rows, left, whole, columns):
    lines = printed(header, rows, columns=columns, left=left)
    assert all(len(line) <= columns for line in lines[:-1])
    text = "\n".join(lines)
    assert "…" not in text
    assert text.count(whole) == len(rows)
    out = lines[-1].removeprefix("Left out, as the terminal is narrow: ").rstrip(".").split(", ")
    shown = set(header) - set(out if out[0] in header else [])
    # A column is left out whole and named, or shown whole; text may take several lines.
    words = [word for row in rows for cell in row for word in cell.split() if len(word) < 7]
    assert all(word in text for word in words if header is TRIAL)
    assert {"hash", "trial", "status", "state", "note"} & set(header) <= shown
    assert (len(shown) < len(header)) == (header is RUN and columns < 120)


def test_numbers_go_from_the_right_after_the_columns_named():
    header = ["sweep", "study", "started", "done", "left"]
    row = ["abc", "default", "2026-11-26T14:00:00+01:00", "12", "3"]
    last = printed(header, [row], columns=20, left=3, drop=("started", "study"))[-1]
    assert last == "Left out, as the terminal is narrow: study, started."
    narrow = printed(header, [row], columns=12, left=3, drop=("started", "study"))
    assert narrow[0].split() == ["sweep", "done"]


def test_nothing_is_cut_where_the_output_is_no_terminal():
    row = [NAME * 4, "converged", *["0.001634"] * 7]
    lines = printed(RUN, [row], columns=80, is_terminal=False)
    assert len(lines) == 2
    assert lines[1].split() == " ".join(row).split()


class Emulated(io.StringIO):
    """A terminal of this width, as far as the view needs one; it echoes ^C as terminals do."""

    def __init__(self, columns):
        super().__init__()
        self.columns, self.lines, self.row, self.column = columns, [""], 0, 0

    def isatty(self):
        return True

    def write(self, text):
        for command, ups, letter in re.findall(r"(\x1b\[\??([0-9]*)[a-zA-Z])|(.|\n)", text):
            if command.endswith("A"):
                self.row = max(self.row - int(ups or 1), 0)
            elif command.endswith("K"):
                self.lines[self.row] = ""
            elif letter == "\r":
                self.column = 0
            elif letter:
                self._put(letter)
        return len(text)

    def _put(self, letter):
        if letter == "\n" or self.column == self.columns:
            self.row, self.column = self.row + 1, 0
            self.lines += [""] * (self.row == len(self.lines))
        if letter != "\n":
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + letter + line[self.column + 1 :]
            self.column += 1


def emulated(monkeypatch):
    """A screen of 40 columns for what the test prints."""
    shown = Emulated(40)
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    return shown


@pytest.mark.parametrize("name", ["short", "n=8 " * 20])
def test_the_echo_of_ctrl_c_leaves_no_row_behind(name, monkeypatch):
    """It would wrap at the end of a full row, and the view would be erased one line too low."""
    screen = emulated(monkeypatch)
    terminal = Terminal()
    with terminal.live_rows(lambda: [["1 done, 1 running"], [name, "step 7/9", "loss 0.1"]]):
        screen.write("^C")
        terminal.say("Interrupted.")
        assert [line for line in screen.lines if "done" in line] == ["1 done, 1 running"]
    assert "".join(screen.lines).strip() == "Interrupted."


def test_a_line_that_ctrl_c_interrupts_is_printed_once(monkeypatch):
    """The signal comes while the line is on its way to the terminal."""
    screen = emulated(monkeypatch)
    left = [1]

    def flush():
        if left and left.pop():
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(screen, "flush", flush)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    terminal = Terminal()
    try:
        with pytest.raises(KeyboardInterrupt):
            terminal.say("[1/2] seed=0: budget")
    finally:
        signal.signal(signal.SIGINT, before)
    terminal.say("Interrupted.")
    lines = [line for line in screen.lines if line]
    assert lines == ["[1/2] seed=0: budget", "Interrupted."]
