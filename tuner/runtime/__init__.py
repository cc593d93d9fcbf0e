"""What every process needs: files, locks, logs, signals, child processes, TensorFlow.

May import the modules at the top level; the rest of Glassy is built on it.
"""
