"""Small parts of sentences that are said in many places."""


def plural(count: int, noun: str) -> str:
    """Write a count with its noun: `1 trial`, `2 trials`, `1,200 trials`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
