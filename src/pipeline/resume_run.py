"""Goes on with an earlier run, or forks it, as `resume=ID` asks."""

from collections.abc import Sequence

from src.config.build_nodes import Schema, build_node
from src.config.resume import parse_resume_request
from src.core.printing import print_line
from src.core.user_errors import UserError
from src.pipeline.resume_hint import build_resume_command
from src.pipeline.run import run
from src.pipeline.run_parts import RunOutcome


def resume_run(arguments: Sequence[str], task: Schema) -> RunOutcome:
    """Run the config that an earlier run has stored, with the overrides of a command line.

    Raises:
        UserError: the command line is mistaken, or there is no such run.
    """
    asked = parse_resume_request(arguments, task)
    store = build_node(asked.tracking)
    store.check()
    # before what takes seconds
    print_line(f"looking for run {asked.run_id} in {store.describe_location()}")
    found = store.find_run(asked.run_id, key="resume")
    if found.tags.get("kind") == "search":
        command = build_resume_command(found.id, root=store.root, uri=store.uri, sweep=found.id)
        raise UserError(
            f"run {found.id} is a sweep of several",
            key="resume",
            value=asked.run_id,
            hint=f"go on with it: {command}",
        )
    config = asked.merge_stored_config(store.load_config_yaml(found.id, key="resume"), task)
    return run(**config, resume=found.id, fork=asked.fork)
