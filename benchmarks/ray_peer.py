"""The program of `benchmarks.ray_trials` that Hydra's own Ray launcher runs: a run for each job."""

import logging
import sys

import hydra
from omegaconf import DictConfig

from src.config.compose import register_resolvers
from src.core.files import CONF
from src.core.processes import name_places


def main(config: DictConfig) -> None:
    """One job, in a worker of Ray's."""
    # in that process nothing has been imported yet
    from src.config.compose import register_resolvers, to_plain_config
    from src.pipeline.run import run

    register_resolvers()
    run(**to_plain_config(config, []))


if __name__ == "__main__":
    import ray

    # the launcher itself cannot connect: it sets what only a new cluster may be told
    ray.init(
        address=sys.argv.pop(1),
        log_to_driver=False,
        logging_level=logging.ERROR,
        runtime_env={"env_vars": name_places()},
    )
    register_resolvers()
    hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(main)()
