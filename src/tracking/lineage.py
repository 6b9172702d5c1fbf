"""Which run came from which. The truth is the tag `init_from` of the later one; `used_by` is read off from it."""

from mlflow import MlflowClient

_MOST = 200  # ids in one tag: MLflow takes 8000 characters


def link_back(client: MlflowClient, source_id: str) -> None:
    """Write into the source's tag `used_by` the ids of all runs that began from it, the latest first.

    Computed anew each time, so two runs that begin at once cannot lose one another for good.
    """
    everywhere = [each.experiment_id for each in client.search_experiments()]
    later = client.search_runs(everywhere, f"tags.init_from = '{source_id}'", max_results=1000)
    ids = [run.info.run_id for run in later]
    more = f" and {len(ids) - _MOST} earlier" if len(ids) > _MOST else ""
    client.set_tag(source_id, "used_by", " ".join(ids[:_MOST]) + more)
