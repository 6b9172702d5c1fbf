"""What an earlier download from the hub has left on this disk."""

from pathlib import Path

from src.core.pretrained_files import check_safetensors, read_json_object
from src.core.user_errors import UserError, split_errors


def check_cached_files(name: str, revision: str | None, key: str) -> None:
    """Raise UserError if files of a hub name lie in the local cache and are broken: its client
    takes them as they are. Nothing is fetched, and what is not there is no fault.
    """
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    repository = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="model")
    reference = repository / "refs" / (revision or "main")
    commit = reference.read_text().strip() if reference.is_file() else revision
    snapshot = repository / "snapshots" / (commit or "none")
    for file in sorted(snapshot.glob("*")) if snapshot.is_dir() else ():
        try:
            if not file.exists():
                raise UserError("a link that leads nowhere", where=file, key=key)
            if file.suffix == ".safetensors":
                check_safetensors(file, key)
            elif file.name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
                read_json_object(file, key)
        except UserError as error:
            [found] = split_errors(error)
            raise UserError(
                f"{found.problem or found} in the local cache of the hub",
                where=found.where,
                key=key,
                hint=f"it is fetched again once {repository} is removed",
            ) from error
