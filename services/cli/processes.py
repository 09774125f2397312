"""The commands that run until they are stopped."""

import os
import socket
import sys
from typing import Annotated

import typer

from services.cli.options import ALL_IN_ONE, ONE_EACH, File, app, refuse, settings_of, with_database

Speed = Annotated[
    float, typer.Option(min=0.01, max=1000, metavar="N", help="Play the recording N times as fast as it was.")
]


@app.command(rich_help_panel=ALL_IN_ONE)
def up(file: File = None, speed: Speed = 1.0) -> None:
    """Run everything on this machine: PostgreSQL, listener, projector and API.

    Without RINGLEDGER_AMI it plays a recording of a real Asterisk 22. Without RINGLEDGER_DATABASE_URL it runs a
    PostgreSQL of its own in RINGLEDGER_DATA. Ctrl-C or SIGTERM stops all of it.
    """
    from services.cli.up import STOP_SECONDS, UpError
    from services.cli.up import up as body
    from services.database.cluster import EmbeddedError
    from services.runtime.process import run

    settings = settings_of(file)
    if speed != 1 and settings.ami:
        raise refuse("--speed is for the recording, which is not played when RINGLEDGER_AMI is set")
    try:
        run("up", lambda stop: body(settings, file, speed, stop), grace=STOP_SECONDS)
    except UpError as error:
        raise refuse(error) from None
    except (EmbeddedError, OSError) as error:
        raise refuse(error, 1) from None


@app.command(rich_help_panel=ALL_IN_ONE)
def demo(
    address: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Where to speak AMI.")
    ] = "127.0.0.1:5038",
    speed: Speed = 1.0,
    fd: Annotated[int, typer.Option("--socket", hidden=True)] = -1,
) -> None:
    """Be a PBX that plays the recording, over AMI, for any client.

    It is what `up` listens to without RINGLEDGER_AMI. User `ringledger`, secret `recording`.
    """
    from services.playback.server import play
    from services.runtime.process import run

    host, _, port = address.rpartition(":")
    try:
        listening = socket.socket(fileno=fd) if fd >= 0 else socket.create_server((host, int(port)))
    except (OSError, ValueError, OverflowError) as error:
        raise refuse(f"--listen {address}: {error}") from None
    run("demo", lambda stop: play(listening, speed, stop))


@app.command("listen", rich_help_panel=ONE_EACH)
def listen_(file: File = None) -> None:
    """Listen to every PBX of RINGLEDGER_AMI and RINGLEDGER_ARI, and append what they say to the log."""
    from services.listener import process as listen
    from services.runtime.process import run

    settings = with_database(file)
    run("listen", lambda stop: listen.listen(settings, settings.database_url, stop))


@app.command(rich_help_panel=ONE_EACH)
def project(file: File = None) -> None:
    """Fold the log into the read models."""
    from services.database.compatible import IncompatibleError
    from services.projector.process import project as body
    from services.runtime.process import run

    settings = with_database(file)
    os.nice(5)  # folding can wait, and catches up; what the listener does not read is gone for ever
    try:
        run("project", lambda stop: body(settings.database_url, stop))
    except IncompatibleError as error:
        raise refuse(error) from None


@app.command("command", rich_help_panel=ONE_EACH)
def command_(file: File = None) -> None:
    """Do at every PBX of RINGLEDGER_AMI what was asked for through the API."""
    from services.commander import process as command
    from services.runtime.process import run

    settings = with_database(file)
    run("command", lambda stop: command.command(settings, settings.database_url, stop))


@app.command(rich_help_panel=ONE_EACH)
def serve(file: File = None) -> None:
    """Serve the documented views over HTTP at RINGLEDGER_HTTP."""
    os.environ["RINGLEDGER_DATABASE_URL"] = with_database(file).database_url
    arguments = [sys.executable, "-P", "-m", "api.process", *([str(file)] if file else [])]
    os.execv(sys.executable, arguments)  # noqa: S606
