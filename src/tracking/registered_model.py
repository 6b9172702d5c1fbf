"""Versions of registered models, made of the models of runs: by `src.export`, and by the delivery
of a run that asks for one.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException

from src.core.printing import print_line
from src.core.retry import describe_error
from src.core.user_errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from src.tracking.client import StoreSession

REGISTERED_TAG, FAILURE_TAG = "registered_model", "register/failure"


def register_model(
    session: "StoreSession",
    run_id: str,
    folder: Path,
    name: str,
    aliases: Sequence[str],
    artifact: str = "model",
) -> str:
    """Make a run's model a new version of a registered model; returns the version.

    Args:
        folder: the model, from which its files are sent if the run has not all of them.
        name, aliases: that MLflow takes; aliases move to the new version.
        artifact: where the run has the model, or gets it.

    Raises:
        UserError: the registry does not take the model.
    """
    client = session.client
    try:
        there = {file.path for file in client.list_artifacts(run_id, artifact)}
        for path in sorted(folder.iterdir()):
            if path.is_file() and f"{artifact}/{path.name}" not in there:
                client.log_artifact(run_id, str(path), artifact)
        return _make_version(client, run_id, name, aliases, artifact=artifact)
    except MlflowException as error:
        problem = " ".join(str(error).split())[:300]
        raise UserError(problem, key="register", value=name) from error


def register_delivered_model(
    client: "MlflowClient", run_id: str, name: str, aliases: Sequence[str]
) -> None:
    """Make the model of a run a version of a registered model, once if asked again, and say so in
    a line and a tag of the run.

    A registry that does not take it is said and tagged too.

    Raises:
        MlflowException, OSError: the store itself does not answer.
    """
    try:
        version = _find_version(client, run_id, name)
        version = _make_version(client, run_id, name, aliases, version)
    except (MlflowException, OSError) as error:
        # raises where it is not the registry alone that fails; it is asked again then
        client.get_run(run_id)
        said = (
            f"the model is not registered as {name}: {describe_error(error)[:300]}; "
            f"python -m src.export run={run_id[:8]} format=mlflow register={name} tries again"
        )
        print_line(said, to_stderr=True)
        client.set_tag(run_id, FAILURE_TAG, said)
        return
    said = describe_version(name, version, aliases)
    print_line(f"registered as {said}", to_stderr=True)
    client.set_tag(run_id, REGISTERED_TAG, said)


def describe_version(name: str, version: str, aliases: Sequence[str]) -> str:
    """`reviews, version 3, alias champion`."""
    return f"{name}, version {version}" + "".join(f", alias {alias}" for alias in aliases)


def _find_version(client: "MlflowClient", run_id: str, name: str) -> str | None:
    """The version that a run's model is already."""
    versions = client.search_model_versions(f"run_id = '{run_id}'")
    numbers = (str(made.version) for made in versions if made.name == name)
    return max(numbers, key=int, default=None)


def _make_version(
    client: "MlflowClient",
    run_id: str,
    name: str,
    aliases: Sequence[str],
    version: str | None = None,
    artifact: str = "model",
) -> str:
    """Move the aliases to the version, which is made first if there is none."""
    if version is None:
        try:
            client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            client.create_registered_model(name)
        uri = client.get_run(run_id).info.artifact_uri
        version = str(client.create_model_version(name, f"{uri}/{artifact}", run_id).version)
    for alias in aliases:
        client.set_registered_model_alias(name, alias, version)
    return version
