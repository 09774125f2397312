"""Parameters of password hashes. The other tests hash with cheaper ones (tests/conftest.py)."""

from argon2 import Type, extract_parameters

from services.accounts.passwords import UNKNOWN_USER_HASH, matches


def test_passwords_have_the_least_argon2id_parameters_of_owasp() -> None:
    parameters = extract_parameters(UNKNOWN_USER_HASH)
    assert (parameters.type, parameters.memory_cost, parameters.time_cost) == (Type.ID, 19456, 2)
    assert (parameters.parallelism, parameters.salt_len, parameters.hash_len) == (1, 16, 32)
    assert not matches(UNKNOWN_USER_HASH, "a guess")
