"""What child processes run in the tests of the fork server."""

import os
import sys
from multiprocessing.connection import Connection


def square(number: int) -> int:
    return number * number


def die(number: int) -> None:
    os._exit(number)


def echo(connection: Connection, prefix: str) -> None:
    print("hello from", prefix)
    sys.stdout.flush()
    os.write(2, b"and from C\n")
    while True:
        connection.send(prefix + connection.recv())


def is_loaded(module: str) -> bool:
    return module in sys.modules


def parent() -> int:
    return os.getppid()
