"""What is masked in the log, and what is not."""

import pytest

from services.ami.framing import masked


@pytest.mark.parametrize("header", [b"Password", b"Md5Cred", b"OauthSecret", b"RefreshToken", b"Challenge"])
def test_the_value_of_a_secret_header_is_masked_and_an_empty_one_stays_empty(header: bytes) -> None:
    block = b"Event: AuthDetail\r\n%s: %s\r\nRealm: pass\r\n\r\n"
    assert masked(block % (header, b"pw100")) == block % (header, b"********")
    assert masked(block % (header, b"")) == block % (header, b"")


def test_an_option_that_only_sounds_secret_is_kept() -> None:
    block = b"Event: EndpointDetail\r\nMohPassthrough: false\r\nPassword: x\r\n\r\n"
    assert masked(block) == b"Event: EndpointDetail\r\nMohPassthrough: false\r\nPassword: ********\r\n\r\n"
