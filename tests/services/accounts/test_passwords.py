"""Parameters of password hashes. The other tests hash with cheaper ones (tests/conftest.py)."""

import pytest
from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import VerifyMismatchError

from services.accounts.passwords import UNKNOWN_USER_HASH, matches


def test_passwords_have_the_least_argon2id_parameters_of_owasp() -> None:
    parameters = extract_parameters(UNKNOWN_USER_HASH)
    assert (parameters.type, parameters.memory_cost, parameters.time_cost) == (Type.ID, 19456, 2)
    assert (parameters.parallelism, parameters.salt_len, parameters.hash_len) == (1, 16, 32)
    assert not matches(UNKNOWN_USER_HASH, "a guess")


def test_a_guess_for_an_unknown_user_is_hashed() -> None:
    """A hash that argon2 cannot read would be refused at once, with another error."""
    with pytest.raises(VerifyMismatchError):
        PasswordHasher().verify(UNKNOWN_USER_HASH, "a guess")
