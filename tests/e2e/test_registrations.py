"""Phones that register, fall silent and are forgotten; Asterisk as a customer of a provider."""

from tests.e2e.asterisk import Asterisk
from tests.e2e.ledger import Ledger
from tests.e2e.truth import CONTACTS, REGISTRATIONS, agree
from tests.support.polling import eventually


async def contact(asterisk: Asterisk, user: str, status: str | None) -> None:
    async def there() -> bool:
        statuses = [row[1] for key, row in (await CONTACTS.asterisk(asterisk)).items() if key.startswith(f"{user} ")]
        return statuses == ([status] if status else [])

    await eventually(there, f"the contact of {user} is {status}")


async def test_a_phone_registers_and_unregisters(ledger: Ledger, asterisk: Asterisk) -> None:
    phone = await asterisk.phone("100")
    await contact(asterisk, "100", "Reachable")
    tables = await agree(ledger, asterisk, "registered")
    assert tables["pjsip_endpoints"]["100"] == ("Not in use",)
    assert await phone.register(0) == 200
    await contact(asterisk, "100", None)
    tables = await agree(ledger, asterisk, "unregistered")
    assert tables["pjsip_endpoints"]["100"] == ("Unavailable",)


async def test_a_wrong_password_changes_nothing(ledger: Ledger, asterisk: Asterisk) -> None:
    phone = await asterisk.phone("101", registered=False)
    phone.password = "wrong"
    assert await phone.register() == 401
    assert not (await agree(ledger, asterisk, "refused"))["pjsip_contacts"]
    phone.password = "pw101"


async def test_a_phone_falls_silent_and_speaks_again(ledger: Ledger, asterisk: Asterisk) -> None:
    phone = await asterisk.phone("102")
    await contact(asterisk, "102", "Reachable")
    phone.deaf = True
    await contact(asterisk, "102", "Unreachable")
    tables = await agree(ledger, asterisk, "silent")
    assert tables["pjsip_endpoints"]["102"] == ("Unavailable",)
    phone.deaf = False
    await contact(asterisk, "102", "Reachable")
    await agree(ledger, asterisk, "heard again")


async def test_a_registration_expires(ledger: Ledger, asterisk: Asterisk) -> None:
    phone = await asterisk.phone("103", registered=False)
    assert await phone.register(2) == 200
    await contact(asterisk, "103", "Reachable")
    phone.deaf = True
    await contact(asterisk, "103", None)
    await agree(ledger, asterisk, "expired")


async def test_a_registration_is_refused_accepted_and_lost(ledger: Ledger, asterisk: Asterisk) -> None:
    provider = await asterisk.provider()
    provider.registrar = "403 Forbidden"

    async def status(expected: str) -> None:
        async def there() -> bool:
            return [row[1] for row in (await REGISTRATIONS.asterisk(asterisk)).values()] == [expected]

        await eventually(there, f"the registration is {expected}")
        await agree(ledger, asterisk, f"the registration is {expected}", seconds=6)

    await status("Rejected")
    provider.registrar = "200 OK"
    await asterisk.cli("pjsip send register provider")
    await status("Registered")
    await asterisk.cli("pjsip send unregister provider")
    await status("Unregistered")
