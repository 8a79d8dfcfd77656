"""Starting the studio: one process, one socket on this machine only."""

from __future__ import annotations

import contextlib
import socket
import webbrowser
from pathlib import Path

import uvicorn

from ganloom.bundle.read import BundleError, opened
from ganloom.images.shards import ShardError
from ganloom.params import ParamsError
from ganloom.studio.app import Studio, create_app
from ganloom.studio.collection import CollectionError


class StudioError(RuntimeError):
    """The studio cannot start; the message names the way out."""


def serve(
    project: Path, name: str | None, port: int, *, browser: bool, bundle: Path | None
) -> None:
    """Serve a project's studio until it is interrupted.

    Args:
        project: Holds params.yaml and data/.
        name: The manual list to write; None: the one in use, or ``mine``.
        port: On 127.0.0.1; 0: any that is free.
        browser: Open the page.
        bundle: Folder or zip file of `ganloom bundle`, whose models are shown.

    Raises:
        StudioError: the list's name is none, the bundle is refused, or the port is taken.
    """
    try:
        studio = Studio(project, name)
    except ValueError as error:
        raise StudioError(str(error)) from error

    with contextlib.ExitStack() as stack:
        try:
            models = stack.enter_context(opened(bundle)) if bundle else None
        except BundleError as error:
            raise StudioError(str(error)) from error
        listener = stack.enter_context(_listen(port))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        try:
            pictures = len(studio.collection().table)
            if models is not None:
                address += "generate"
            print(f"{pictures} pictures, decisions in {studio.list}: {address}", flush=True)
        except (CollectionError, ParamsError, ShardError) as error:
            address += "generate"
            print(f"{address}\nNothing to curate: {error}", flush=True)
        print("Ctrl+C ends the studio; what was decided or kept is saved.", flush=True)
        if browser:  # it waits in the socket's queue until the server answers
            webbrowser.open(address)
        config = uvicorn.Config(
            create_app(studio, models), log_level="warning", timeout_graceful_shutdown=2
        )
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise StudioError(
            f"port {port} cannot be used ({error}); is a studio running there? "
            "Another one: --port 0"
        ) from None
    listener.listen()
    return listener
