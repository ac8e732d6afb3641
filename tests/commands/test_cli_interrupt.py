# ruff: noqa: PT012  the test is about what happens within the block
from __future__ import annotations

import signal

import pytest

from rdv.system.interrupt import DeferredInterrupt


@pytest.fixture(autouse=True)
def interruptible():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_waits_until_it_is_allowed():
    done = []
    with pytest.raises(KeyboardInterrupt), DeferredInterrupt() as interrupt:
        signal.raise_signal(signal.SIGINT)
        done.append("the work under way")
        with interrupt.allowed():
            done.append("never")
    assert done == ["the work under way"]


def test_a_deferred_interrupt_is_raised_at_the_end():
    with pytest.raises(KeyboardInterrupt), DeferredInterrupt():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_where_it_is_allowed_it_comes_at_once():
    with pytest.raises(KeyboardInterrupt), DeferredInterrupt() as interrupt, interrupt.allowed():
        signal.raise_signal(signal.SIGINT)
        pytest.fail("not reached")


def test_a_second_one_does_not_wait():
    with pytest.raises(KeyboardInterrupt), DeferredInterrupt():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("not reached")


def test_an_error_is_not_replaced_by_the_interrupt():
    with pytest.raises(ValueError, match="mine"), DeferredInterrupt():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("mine")


def test_a_job_that_ignores_interrupts_goes_on_doing_so():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with DeferredInterrupt() as interrupt, interrupt.allowed():
        signal.raise_signal(signal.SIGINT)
