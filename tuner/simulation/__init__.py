"""Simulation: any search on a table or a function instead of on trainings, in simulated time.

The loop, the oracles, the queue, the stopping and the finalists of a real study, around a
virtual clock and virtual workers. May import everything down to `driver`.
"""

from tuner.simulation.simulating import Simulated, simulate
from tuner.simulation.worker import Evaluate

__all__ = ["Evaluate", "Simulated", "simulate"]
