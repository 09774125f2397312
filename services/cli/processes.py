"""The commands that run until they are stopped: up, demo, listen, project, command, serve."""

import os
import socket
import sys
from typing import Annotated

import typer

from services.cli.options import ALL_IN_ONE, ONE_EACH, SettingsFile, app, failure, load_settings, settings_with_database

Speed = Annotated[
    float, typer.Option(min=0.01, max=1000, metavar="N", help="Play the recording N times as fast as it was recorded.")
]


@app.command(rich_help_panel=ALL_IN_ONE)
def up(file: SettingsFile = None, speed: Speed = 1.0) -> None:
    """Run everything on this machine: PostgreSQL, listener, projector, commander and API.

    Without RINGLEDGER_AMI, a recording of a real Asterisk 22 is played. Without RINGLEDGER_DATABASE_URL, an embedded
    PostgreSQL runs in RINGLEDGER_DATA. Ctrl-C or SIGTERM stops everything.
    """
    from services.cli.up import STOP_SECONDS
    from services.cli.up import up as run_up
    from services.cli.up_database import UpError
    from services.database.cluster import EmbeddedError
    from services.runtime import process

    settings = load_settings(file)
    if speed != 1 and settings.ami:
        raise failure("--speed is for the recording, which is not played when RINGLEDGER_AMI is set")
    try:
        process.run("up", lambda stop: run_up(settings, file, speed, stop), grace=STOP_SECONDS)
    except UpError as error:
        raise failure(error) from None
    except (EmbeddedError, OSError) as error:
        raise failure(error, 1) from None


@app.command(rich_help_panel=ALL_IN_ONE)
def demo(
    address: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="The address of the AMI server.")
    ] = "127.0.0.1:5038",
    speed: Speed = 1.0,
    fd: Annotated[int, typer.Option("--socket", hidden=True)] = -1,
) -> None:
    """Run an AMI server that plays the recording to any client.

    `up` connects to it without RINGLEDGER_AMI. The user is `ringledger`, the secret `recording`.
    """
    from services.playback.server import play
    from services.runtime import process

    host, _, port = address.rpartition(":")
    try:
        listening = socket.socket(fileno=fd) if fd >= 0 else socket.create_server((host, int(port)))
    except (OSError, ValueError, OverflowError) as error:
        raise failure(f"--listen {address}: {error}") from None
    process.run("demo", lambda stop: play(listening, speed, stop))


@app.command(rich_help_panel=ONE_EACH)
def listen(file: SettingsFile = None) -> None:
    """Listen to every PBX of RINGLEDGER_AMI and RINGLEDGER_ARI, and append its events to the log."""
    from services.listener.process import listen as run_listener
    from services.runtime import process

    settings = settings_with_database(file)
    process.run("listen", lambda stop: run_listener(settings, settings.database_url, stop))


@app.command(rich_help_panel=ONE_EACH)
def project(file: SettingsFile = None) -> None:
    """Fold the log into the read models."""
    from services.database.compatible import IncompatibleError
    from services.projector.process import project as run_projector
    from services.runtime import process

    settings = settings_with_database(file)
    os.nice(5)  # The projector can catch up later; events that the listener does not read are lost.
    try:
        process.run("project", lambda stop: run_projector(settings.database_url, stop, calls=settings.calls))
    except IncompatibleError as error:
        raise failure(error) from None


@app.command(rich_help_panel=ONE_EACH)
def command(file: SettingsFile = None) -> None:
    """Carry out the acts requested through the API at every PBX of RINGLEDGER_AMI."""
    from services.commander.process import command as run_commander
    from services.runtime import process

    settings = settings_with_database(file)
    process.run("command", lambda stop: run_commander(settings, settings.database_url, stop))


@app.command(rich_help_panel=ONE_EACH)
def serve(file: SettingsFile = None) -> None:
    """Serve the documented views over HTTP at RINGLEDGER_HTTP."""
    os.environ["RINGLEDGER_DATABASE_URL"] = settings_with_database(file).database_url
    arguments = [sys.executable, "-P", "-m", "api.process", *([str(file)] if file else [])]
    os.execv(sys.executable, arguments)  # noqa: S606
