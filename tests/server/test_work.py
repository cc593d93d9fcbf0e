"""Work in threads is bounded, and never prevents the end."""

import asyncio
import subprocess
import sys
import threading

import pytest

from tuner.server.work import Busy, Work


def test_run_returns_and_raises_what_the_function_does() -> None:
    work = Work()
    assert asyncio.run(work.run(divmod, 7, 3)) == (2, 1)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(work.run(divmod, 1, 0))
    work.end(1)


def test_run_refuses_more_than_may_wait() -> None:
    work, goes_on = Work(threads=1, waiting=1), threading.Event()

    async def crowd() -> list[object]:
        asked = [asyncio.create_task(work.run(goes_on.wait)) for _ in range(4)]
        await asyncio.sleep(0)
        goes_on.set()
        return await asyncio.gather(*asked, return_exceptions=True)

    came = asyncio.run(crowd())
    assert came[:2] == [True, True]
    assert all(isinstance(each, Busy) for each in came[2:])
    assert asyncio.run(work.run(str, 1)) == "1"
    work.end(1)


def test_run_waits_no_longer_than_its_time() -> None:
    work, goes_on = Work(threads=1, seconds=0.05), threading.Event()
    for _ in range(2):
        # The second never begins.
        with pytest.raises(Busy):
            asyncio.run(work.run(goes_on.wait))
    goes_on.set()
    work.end(1)


def test_end_waits_for_no_thread_that_does_not_end() -> None:
    code = (
        "import asyncio, threading\n"
        "from tuner.server.work import Busy, Work\n"
        "work = Work(seconds=0.05)\n"
        "try:\n"
        "    asyncio.run(work.run(threading.Event().wait))\n"
        "except Busy:\n"
        "    print('busy')\n"
        "work.end(130, seconds=0.05)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "busy\n", "")
