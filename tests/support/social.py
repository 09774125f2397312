"""Three users and their chats."""

from typing import Any

from tests.support.users import UserClient

ALICE = "0a11ce00-0000-4000-8000-000000000001"
BOB = "0b0b0000-0000-4000-8000-000000000002"
CAROL = "0ca40100-0000-4000-8000-000000000003"


async def open_room(who: UserClient, *members: str, kind: int = 2, name: str = "", **called: str) -> str:
    """Open a room and return the path of one's own chat."""
    answer = await who.send("POST", "/me/chats", {"type": kind, "members": members, "name": name, **called})
    return answer.headers["Location"]


async def only_chat(who: UserClient) -> dict[str, Any]:
    [chat] = await who.get("/me/chats")
    assert isinstance(chat, dict)
    return chat
