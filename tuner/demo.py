"""`python -m tuner.demo`: a local page to draw on, which shows what a model predicts."""

import os
import secrets
import warnings
from pathlib import Path

from omegaconf import DictConfig

from tuner.cli import application
from tuner.config import printed_commands
from tuner.config.compose import load_demo
from tuner.config.schema import DemoConfig, module_names
from tuner.escapes import visible

HELD_UPLOADS = 4
"""How many uploads of the largest size may be held in memory at once."""


def main(composed: DictConfig) -> None:
    """Load a model and show its page until Ctrl-C."""
    config = load_demo(composed)
    from tuner.runtime.logs import native_noise_to
    from tuner.server import addresses

    # The port is taken before the slow imports, so that a busy one is reported at once.
    with addresses.listen(config.host, config.port) as listener:
        # A visitor who reaches the loopback address is on this machine. Others need the
        # token that is printed.
        token = None if addresses.is_local(listener) else secrets.token_urlsafe(16)
        with native_noise_to(Path(os.devnull)):
            from PIL import Image

            from tuner.classifier import lookup, safe_loading
            from tuner.runtime import tensorflow_setup
            from tuner.server import draw
            from tuner.server.guard import Guard, Limits
            from tuner.server.running import serve
            from tuner.server.work import Work
            from tuner.tracking import tracking_store

            tensorflow_setup.check_flags()
            uri = config.tracking.uri
            model = config.model or lookup.only_champion(
                tracking_store.connect_to_existing(uri),
                "tuner.demo",
                printed_commands.arguments(),
            )
            classifier = safe_loading.load(
                model, tracking_uri=uri, custom_objects=module_names(config.custom_objects)
            )
        # An upload must not print warnings to the terminal: refuse it like one that is too big.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        max_bytes = config.max_upload_mb * 2**20
        work = Work()
        page = Guard(
            draw.application(classifier, work, max_bytes),
            addresses.hosts(config.host, listener),
            Limits(max_bytes, HELD_UPLOADS * max_bytes),
            token,
        )
        print(
            f"{visible(classifier.source.title)} is waiting for drawings at "
            f"{addresses.url(listener, token)} (press Ctrl-C to stop)",
            flush=True,
        )
        try:
            serve(page, listener)
        finally:
            work.end(application.INTERRUPTED)


if __name__ == "__main__":
    application.run(main, "commands/demo", DemoConfig)
