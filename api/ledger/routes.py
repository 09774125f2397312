"""Every route of the ledger."""

from aiohttp import web

from api.ledger import events, gaps, proof, status
from api.ledger.explain import routes as explain

ROUTES: list[web.RouteDef] = [*events.ROUTES, *proof.ROUTES, *gaps.ROUTES, *status.ROUTES, *explain.ROUTES]
