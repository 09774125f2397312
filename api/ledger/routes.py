"""Every route of the ledger."""

from aiohttp import web

from api.ledger import events, explain, gaps, proof, status

ROUTES: list[web.RouteDef] = [*events.ROUTES, *proof.ROUTES, *gaps.ROUTES, *status.ROUTES, *explain.ROUTES]
