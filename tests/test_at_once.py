"""Pieces of work in threads: how many run, and that all end."""

import threading
from contextlib import closing
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gssm_cube.download.at_once import finished
from gssm_cube.sources.tries import NoAccess, NoAnswer, Stopped, Watch


@settings(max_examples=25, deadline=None)
@given(st.lists(st.booleans(), max_size=12), st.integers(1, 4))
def test_each_piece_ends_once_with_its_own_result_or_error(good, at_once):
    running, most, lock = set(), [0], threading.Lock()

    def work(number):
        with lock:
            running.add(number)
            most[0] = max(most[0], len(running))
        with lock:
            running.remove(number)
        if not good[number]:
            raise ValueError(f"piece {number}")

    pieces = ((number, partial(work, number)) for number in range(len(good)))
    failed = []
    done = list(finished(pieces, at_once, Watch(), (ValueError,), failed))
    assert sorted(done) == [number for number, is_good in enumerate(good) if is_good]
    assert sorted((key, str(error)) for key, error in failed) == [
        (number, f"piece {number}") for number, is_good in enumerate(good) if not is_good
    ]
    assert most[0] <= at_once


def test_no_more_are_begun_while_the_reader_is_busy():
    begun = []

    def pieces():
        for number in range(10):
            begun.append(number)
            yield number, lambda: None

    with closing(finished(pieces(), 3, Watch(), (), [])) as done:
        next(done)
        assert begun == [0, 1, 2]
        assert len(list(done)) == 9
    assert begun == list(range(10))


@pytest.mark.timeout(60)
def test_when_the_reader_fails_who_waits_is_not_waited_for():
    watch, waiting, errors = Watch(), threading.Event(), []

    def wait():
        waiting.set()
        try:
            watch.pause(3600)
        except Stopped as error:
            errors.append(error)
            raise

    pieces = [("done", waiting.wait), ("waits", wait)]
    with (
        pytest.raises(OSError, match="disk"),
        closing(finished(pieces, 2, watch, (), [])) as done,
    ):
        assert next(done) == "done"
        raise OSError("the disk is full")
    assert len(errors) == 1


@pytest.mark.parametrize("error", [NoAccess("who?"), NoAnswer("busy"), KeyError("a fault")])
def test_what_ends_all_is_raised_and_the_rest_is_not_begun(error):
    def fail():
        raise error

    begun = []
    pieces = [("fails", fail), *((n, partial(begun.append, n)) for n in range(9))]
    with pytest.raises(type(error)):
        list(finished(pieces, 1, Watch(), (RuntimeError, ValueError), []))
    assert not begun
