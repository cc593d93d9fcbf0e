"""What all commands share: a Hydra application that reports errors in one message.

May import config and runtime.
"""
