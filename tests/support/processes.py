"""Which processes there are, as Linux tells."""

from pathlib import Path


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def children(pid: int) -> list[int]:
    """Return the ids of a process's children, in the order they were started."""
    return [int(i) for i in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def descendants(pid: int) -> dict[int, str]:
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found[int(child)] = Path(f"/proc/{child}/cmdline").read_text()
        found |= descendants(int(child))
    return found
