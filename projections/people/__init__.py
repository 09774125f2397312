"""Read models of users and what belongs to them."""

from projections.people.buddies import BUDDIES
from projections.people.chats import CHATS
from projections.people.contacts import CONTACTS
from projections.people.messages import MESSAGES
from projections.people.rooms import ROOMS
from projections.people.tokens import TOKENS
from projections.people.users import USERS

MODELS = (
    BUDDIES,
    CHATS,
    CONTACTS,
    MESSAGES,
    ROOMS,
    TOKENS,
    USERS,
)
