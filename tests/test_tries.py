"""What is tried again, how long is waited, and how it ends."""

import errno
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from gssm_cube.sources.tries import (
    Damaged,
    NoAccess,
    NoAnswer,
    NotThere,
    Passing,
    Refused,
    Stopped,
    may_pass,
    persist,
    read_anew,
    seconds_asked,
)


class Failing:
    """Raises errors in turn, then answers; notes how long was waited before each try."""

    def __init__(self, *errors):
        self.errors, self.calls, self.pauses = list(errors), 0, []

    def __call__(self):
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"

    def persist(self, **more):
        return persist("it", self, self.pauses.append, **more)


LASTING = [
    NoAccess("who are you?"),
    NotThere("nothing here"),
    Refused("no"),
    NoAnswer("given up below"),
    Stopped("by the user"),
    ValueError("tile_size is 47"),
    RuntimeError("a thread could not be started"),
    OSError(errno.ENOSPC, "no space left on device"),
    PermissionError(errno.EACCES, "may not write"),
    ConnectionError("of a library that no route has translated"),
    KeyError("t2m"),
]


@pytest.mark.parametrize("error", LASTING, ids=lambda error: type(error).__name__)
def test_what_another_try_cannot_mend_is_raised_as_it_comes(error):
    call = Failing(error)
    with pytest.raises(type(error)) as caught:
        call.persist()
    assert caught.value is error
    assert (call.calls, call.pauses) == (1, [])


def test_pauses_double_up_to_the_longest_and_the_eighth_failure_is_the_last():
    call = Failing(*(Passing(f"failure {number}") for number in range(1, 9)))
    with pytest.raises(NoAnswer, match="it: no answer in 8 tries in a row, .* failure 8; start"):
        call.persist()
    assert call.calls == 8
    bounds = zip(call.pauses, [1, 2, 4, 8, 16, 32, 64], strict=True)
    assert all(whole / 2 <= pause <= whole for pause, whole in bounds)


def test_tries_count_from_the_last_that_brought_something():
    call = Failing(*(Passing("cut") for _ in range(20)))
    assert call.persist(came=lambda: call.calls // 5) == "answer"  # every fifth try brings some
    assert call.calls == 21
    assert max(call.pauses) <= 16  # of the fifth failure in a row


@pytest.mark.parametrize(("asked", "waited"), [(90.0, 90.0), (3600.0, 600.0), (0.0, 1.0)])
def test_who_asks_for_a_pause_gets_it_within_ten_minutes(asked, waited):
    call = Failing(Passing("status 503", asked))
    call.persist()
    (pause,) = call.pauses
    assert pause == waited if asked else pause <= waited


def test_a_wish_to_wait_is_read_in_seconds_or_as_a_date():
    later = datetime.now(UTC) + timedelta(seconds=90)
    assert seconds_asked("120") == 120.0
    assert 80 < seconds_asked(format_datetime(later, usegmt=True)) <= 90
    assert seconds_asked(format_datetime(later - timedelta(days=1), usegmt=True)) == 0.0
    assert seconds_asked("") == seconds_asked("soon") == seconds_asked("-3") == 0.0


def test_of_all_statuses_those_may_pass_that_speak_of_a_moment():
    lasting = {*range(400, 500), 501, 505} - {408, 425, 429}
    assert {status for status in range(400, 600) if not may_pass(status)} == lasting


def test_bytes_that_stay_damaged_are_a_refusal_so_that_others_go_on():
    call = Failing(*(Damaged("what came cannot be read (bad block)") for _ in range(8)))
    with pytest.raises(Refused, match="it: what came .*bad block.*, 8 times in a row"):
        call.persist()


def test_a_decoders_errors_of_the_named_kinds_alone_count_as_damage():
    with pytest.raises(Damaged, match="cannot be read .bad checksum"), read_anew(ValueError):
        raise ValueError("bad checksum\nof a long text")
    with pytest.raises(TypeError), read_anew(ValueError):
        raise TypeError("a fault of the program")


@pytest.mark.parametrize("error", LASTING[:5], ids=lambda error: type(error).__name__)
def test_an_answer_that_a_decoder_passes_on_is_not_taken_for_damage(error):
    with pytest.raises(type(error)) as caught, read_anew(ValueError, RuntimeError):
        raise error
    assert caught.value is error
