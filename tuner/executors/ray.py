"""`executor=ray`: connects to a cluster before anything imports Ray.

Ray reads its settings from the environment when it is imported.
"""

from tuner.config.executors import RayConfig
from tuner.executors import Executor, Start, Workplace, cluster


def prepare(config: RayConfig, *functions: str) -> Start:
    """Connect to the cluster; see `Prepare`."""
    cluster.connect(config, *functions)

    def start(workplace: Workplace) -> Executor:
        from tuner.executors.ray_executor import RayExecutor

        return RayExecutor(config, workplace)

    return start
