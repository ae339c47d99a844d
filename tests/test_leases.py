"""Leases in an object store: one run at a time, and never locked out by a dead one."""

import json
import threading
import time
from contextlib import ExitStack, contextmanager

import pytest
from object_server import moto_server

from gssm_cube.storage import leases, locations
from gssm_cube.storage.locks import locked, locked_in_part


@pytest.fixture(scope="module")
def bucket():
    with pytest.MonkeyPatch.context() as patch, moto_server() as server:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield f"s3://{server.make_bucket()}"


@pytest.fixture
def store(bucket, request, monkeypatch):
    """A store of the test's own, with leases that end soon."""
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(leases, "LEASE_SECONDS", 1.5)
    return f"{bucket}/{request.node.name}.zarr"


def lease_of(store, host="elsewhere", process=1, **more):
    """What a holder on another machine left, or one of this."""
    about = {"host": host, "machine": "another", "process": process}
    about |= {"token": "t", "beats": 3, "released": False}
    return json.dumps(about | more).encode()


def dead_here(store):
    """What a process of this machine left that is gone."""
    here = {"host": leases.socket.gethostname(), "machine": leases.machine()}
    return lease_of(store, process=2**22 + 1, **here)


@contextmanager
def beating(store, place, **about):
    """Let another holder's heart beat meanwhile."""
    ended = threading.Event()

    def beat():
        number = 0
        while not ended.wait(0.1):
            locations.write(place, lease_of(store, beats=(number := number + 1), **about))

    thread = threading.Thread(target=beat)
    locations.write(place, lease_of(store, **about))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def said(check):
    """Wait until a holder is told why it holds nothing any more."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            check()
        except RuntimeError as error:
            return str(error)
        time.sleep(0.05)
    return pytest.fail("the holder was not told")


def numbers(store):
    return locations.names(f"{store}.lease")


def test_a_store_is_held_by_one_run_and_free_again_after_it(store):
    prepared = []
    for number in ("00000001", "00000002"):
        with locked(store, lambda: prepared.append(1)) as check:
            check({"unit": "r000c000_w00"})
            assert numbers(store) == [number]
            with pytest.raises(RuntimeError, match=r"written by process \d+ on .*; wait for it"):
                with locked(store):
                    pass
    assert prepared == [1, 1]


def test_a_holder_on_another_machine_that_falls_silent_is_taken_over(store):
    locations.write(f"{store}.lease/00000007.json", lease_of(store))
    begin = time.monotonic()
    with locked(store):
        assert time.monotonic() - begin > 1.5
        assert numbers(store) == ["00000008"]


@pytest.mark.parametrize("host", ["elsewhere", leases.socket.gethostname()])
def test_a_holder_on_another_machine_whose_heart_beats_is_not(store, host):
    # Clones and containers may share a name: there a number of no process tells nothing.
    with beating(store, f"{store}.lease/00000007.json", host=host, process=2**22 + 1):
        match = f"process {2**22 + 1} on {host}; wait for it or end it"
        with pytest.raises(RuntimeError, match=match), locked(store):
            pass
    assert numbers(store) == ["00000007"]


def test_a_dead_process_of_this_machine_is_taken_over_at_once(store, monkeypatch):
    monkeypatch.setattr(leases, "LEASE_SECONDS", 600.0)
    locations.write(f"{store}.lease/00000001.json", dead_here(store))
    with locked(store):
        assert numbers(store) == ["00000002"]


def test_a_lease_is_broken_on_demand_and_its_holder_learns_of_it(store):
    with ExitStack() as stack:
        check = stack.enter_context(locked(store))
        check()
        stack.enter_context(locked(store, take_over=True))
        assert "was taken over by another run; what has a marker stays done" in said(check)
    assert numbers(store) == ["00000002"]


def test_a_holder_that_slept_looks_before_it_goes_on(store, monkeypatch):
    monkeypatch.setattr(leases.Lease, "beat", lambda lease: None)
    with locked(store) as check:
        awake = leases.now()
        monkeypatch.setattr(leases, "now", lambda: awake + 100)
        check()
        locations.write(f"{store}.lease/00000002.json", lease_of(store))
        check()  # it has looked just now
        monkeypatch.setattr(leases, "now", lambda: awake + 200)
        with pytest.raises(RuntimeError, match="was taken over by another run"):
            check()


def test_a_heart_that_stops_for_whatever_reason_ends_the_run(store, monkeypatch):
    with locked(store) as check:
        check()

        def fail(place, content):
            raise ValueError("no heart")

        monkeypatch.setattr(locations, "write", fail)
        assert "could not be written for 2 s: no heart; what has a marker" in said(check)
        monkeypatch.undo()


def test_of_several_who_take_a_number_at_a_time_one_succeeds(store):
    place, won = f"{store}.lease/00000001.json", []
    contents = [lease_of(store, process=number) for number in range(8)]
    threads = [
        threading.Thread(target=lambda c=c: won.append(locations.create(place, c)))
        for c in contents
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 7 + [True]


def test_parts_hold_a_store_together_and_the_first_alone_prepares_it(store):
    calls = []
    with locked_in_part(store, lambda: calls.append("first")):
        with locked_in_part(store, lambda: calls.append("second")) as check:
            check()
            with pytest.raises(RuntimeError, match="being written by process"), locked(store):
                pass
    assert calls == ["first"]
    with locked(store, lambda: calls.append("whole")):
        with pytest.raises(RuntimeError, match="being written by process"):
            with locked_in_part(store, list, wait_seconds=0.1):
                pass
    assert calls == ["first", "whole"]


def test_a_part_that_died_keeps_no_run_out(store):
    locations.write(f"{store}.lease/part-x.json", dead_here(store))
    with locked(store):
        assert numbers(store) == ["00000001"]


def test_a_whole_run_stays_the_holder_while_it_waits_for_a_silent_part(store):
    locations.write(f"{store}.lease/part-x.json", lease_of(store))
    with locked(store) as check:
        time.sleep(0.3)  # some beats
        check()
        assert numbers(store) == ["00000001"]
    with locked(store, lambda: None):  # it was given back, which nobody does who lost it
        assert numbers(store) == ["00000002"]


def test_a_part_that_comes_while_others_work_gives_the_store_back_at_once(store, monkeypatch):
    with locked_in_part(store, list):
        look = leases._is_live
        monkeypatch.setattr(leases, "_is_live", lambda *of: time.sleep(0.5) or look(*of))
        with locked_in_part(store, list) as check:
            check()
            held_whole = leases.read_holder(f"{store}.lease/00000002.json")
            assert held_whole["released"] is True
