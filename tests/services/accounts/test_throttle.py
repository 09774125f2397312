"""Waits after failed logins: by user and client, and by user alone."""

from services.accounts.throttle import (
    FREE_FAILURES,
    FREE_FAILURES_OF_USER,
    MAX_KEYS,
    MAX_USER_WAIT_SECONDS,
    MAX_WAIT_SECONDS,
    Throttle,
)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def fail(throttle: Throttle, client: str, times: int, *, is_known: bool = False) -> None:
    for _ in range(times):
        throttle.failed("ann", client, is_known=is_known)


def test_each_failure_doubles_the_wait() -> None:
    throttle = Throttle(Clock())
    fail(throttle, "a", FREE_FAILURES - 1)
    assert throttle.wait("ann", "a", is_known=False) == 0
    waits = []
    for _ in range(12):
        fail(throttle, "a", 1, is_known=True)
        waits.append(throttle.wait("ann", "a", is_known=True))
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert throttle.wait("ann", "b", is_known=True) == throttle.wait("bob", "a", is_known=True) == 0


def test_guesses_from_many_addresses_slow_new_clients_only() -> None:
    throttle = Throttle(clock := Clock())
    for number in range(FREE_FAILURES_OF_USER):
        assert throttle.wait("ann", f"bot {number}", is_known=False) == 0
        fail(throttle, f"bot {number}", 1)
    assert throttle.wait("ann", "another bot", is_known=False) == 1
    assert throttle.wait("ann", "home", is_known=True) == 0
    assert throttle.wait("bob", "another bot", is_known=False) == 0
    for number in range(2000):
        clock.now += MAX_USER_WAIT_SECONDS
        assert throttle.wait("ann", f"late {number}", is_known=False) == 0
        fail(throttle, f"late {number}", 1)
    assert throttle.wait("ann", "one more", is_known=False) == MAX_USER_WAIT_SECONDS
    assert throttle.wait("ann", "home", is_known=True) == 0


def test_failures_of_a_known_client_slow_no_other() -> None:
    throttle = Throttle(Clock())
    fail(throttle, "home", FREE_FAILURES_OF_USER, is_known=True)
    assert throttle.wait("ann", "home", is_known=True) == MAX_WAIT_SECONDS
    assert throttle.wait("ann", "elsewhere", is_known=False) == 0


def test_success_and_pauses_clear_failures() -> None:
    throttle = Throttle(clock := Clock())
    fail(throttle, "a", FREE_FAILURES)
    throttle.succeeded("ann", "a")
    assert throttle.wait("ann", "a", is_known=True) == 0
    fail(throttle, "a", FREE_FAILURES_OF_USER)
    clock.now += 2 * MAX_WAIT_SECONDS
    fail(throttle, "a", 1)
    assert throttle.wait("ann", "a", is_known=False) == 0


def test_memory_is_bounded_in_number_and_length() -> None:
    throttle = Throttle(Clock())
    for number in range(MAX_KEYS + 10):
        throttle.failed(f"{'x' * 5000}{number}", str(number), is_known=False)
    failures = throttle._of_clients._failures
    assert len(failures) == MAX_KEYS
    assert max(len(str(key)) for key in failures) < 300
