"""Which run came from which. The truth is a tag of the later one; the earlier one's tag is read off from it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

_MOST = 200  # ids in one tag: MLflow takes 8000 characters
BACK = {"init_from": "used_by", "forked_from": "forks"}  # by the later run's tag, that of the earlier


def link_back(client: "MlflowClient", source_id: str, tag: str = "init_from") -> None:
    """Write into the source's tag `used_by` (or `forks`) the ids of all runs that began from it, the latest first.

    Computed anew each time, so two runs that begin at once cannot lose one another for good.
    """
    everywhere = [each.experiment_id for each in client.search_experiments()]
    later = client.search_runs(everywhere, f"tags.{tag} = '{source_id}'", max_results=1000)
    ids = [run.info.run_id for run in later]
    more = f" and {len(ids) - _MOST} earlier" if len(ids) > _MOST else ""
    client.set_tag(source_id, BACK[tag], " ".join(ids[:_MOST]) + more)
