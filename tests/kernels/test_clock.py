"""The clock of budgets stands still while kernels are compiled, and at no other time."""

import time

import pytest

from chainrule.kernels.clock import COMPILATION, Compilation, working_time


def test_a_kernel_that_another_one_calls_is_compiled_within_its_time(monkeypatch):
    now = iter([10.0, 15.0, 100.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    compilation = Compilation()
    compilation.begin()
    compilation.begin()
    compilation.end()
    assert compilation.seconds(12.0) == 2.0  # it goes on
    compilation.end()
    assert compilation.seconds(20.0) == 5.0
    compilation.begin()
    assert compilation.seconds(101.0) == 6.0


def test_the_clock_stands_still_while_numba_compiles():
    numba = pytest.importorskip("numba")
    import chainrule.kernels.compiling  # noqa: F401 - it listens from now on

    @numba.njit
    def total(n):
        result = 0.0
        for i in range(n):
            result += i % 3
        return result

    before, working_before = time.perf_counter(), working_time()
    total(10)
    passed, worked = time.perf_counter() - before, working_time() - working_before
    assert 0 <= worked < 0.5 * passed
    assert COMPILATION.seconds(time.perf_counter()) > 0

    before, working_before = time.perf_counter(), working_time()
    time.sleep(0.05)
    passed, worked = time.perf_counter() - before, working_time() - working_before
    assert worked == pytest.approx(passed, rel=0.1)
