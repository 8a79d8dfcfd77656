"""Start the studio: one process that listens on 127.0.0.1 only."""

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
    """The studio cannot start. The message says what to do."""


def serve(
    project: Path, name: str | None, port: int, *, browser: bool, bundle: Path | None
) -> None:
    """Serve a project's studio until it is interrupted.

    Args:
        project: Folder with ``params.yaml`` and ``data/``.
        name: Name of the manual list to write. If None, the list in ``params.yaml``, or ``mine``.
        port: Port on 127.0.0.1; 0 for any free one.
        browser: Whether to open the page in a browser.
        bundle: Folder or zip file from ``ganloom bundle``, whose models are shown.

    Raises:
        StudioError: If the name of the list is invalid, the bundle is refused, or the port is in
            use.
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
            images = len(studio.collection().table)
            if models is not None:
                address += "generate"
            print(f"{images} images, decisions in {studio.list}: {address}", flush=True)
        except (CollectionError, ParamsError, ShardError) as error:
            address += "generate"
            print(f"{address}\nNothing to curate: {error}", flush=True)
        print("Press Ctrl+C to stop the studio. Decisions and kept samples are saved.", flush=True)
        if browser:  # its connection waits in the socket's queue until the server answers
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
            f"port {port} cannot be used ({error}); is another studio running? "
            "To use a free port: --port 0"
        ) from None
    listener.listen()
    return listener
