"""What a config may build. A config file is a text that people pass on: naming a class in it must not run any code.

A `_target_` is a class, public and defined (not merely imported) in this project or in one of four libraries. Of the
project it is one that was made for configs, decorated with `@checked`; of a library it is a layer, an optimizer, a
schedule, a metric, a callback or a configuration. Everything else could do anything: `torch.load` unpickles,
`LightningCLI` builds whatever its arguments name, `torch.serialization.os.system` is reached through a module.
"""

import ast
import importlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from src.config.signature import ADDED, ROOMS, definition
from src.terms.fault import Fault

# The classes of which a library's target must be one; named, since to import them would cost seconds.
_KINDS = {
    "lightning.pytorch.callbacks.callback.Callback",
    "torch.nn.modules.module.Module",
    "torch.optim.lr_scheduler.LRScheduler",
    "torch.optim.optimizer.Optimizer",
    "torchmetrics.metric.Metric",
    "transformers.configuration_utils.PreTrainedConfig",
}
_HYDRA_ROOMS = ("hydra._internal.", "hydra_plugins.", "logging.")  # its own sweeper and launcher, and log handlers


def refuse(target: str) -> None:
    """Raise Fault where a config must not build `target`, as far as its text tells. Imports nothing."""
    if f"{target}.".startswith(ADDED):
        return
    if not target.startswith(ROOMS):
        raise Fault(f"'{target}' is not built: a config builds from {', '.join(ROOMS)} alone")
    if re.fullmatch(r"[a-zA-Z]\w*(\.[a-zA-Z]\w*)+", target) is None:
        raise Fault(f"'{target}' is not built: expected the dotted name of a public class")
    module, _, name = target.rpartition(".")
    found = definition(module, name)
    if found is None:
        return
    origin, node = found
    if not f"{origin}.".startswith(ROOMS):
        raise Fault(f"'{target}' is not built: {name} is only imported there, from {origin}")
    if isinstance(node, ast.FunctionDef):
        raise Fault(f"'{target}' is not built: it is a function, expected a class")
    if target.startswith("src.") and isinstance(node, ast.ClassDef) and not _is_checked(node):
        raise Fault(f"'{target}' is not built: it is not made for configs; a class that is has @checked above it")


def _is_checked(node: ast.ClassDef) -> bool:
    return any(isinstance(each, ast.Name) and each.id == "checked" for each in node.decorator_list)


def imported(target: str) -> Any:
    """The class that a `_target_` names; Fault where there is none, or a config must not build it."""
    refuse(target)
    module, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise Fault(f"'{target}' cannot be imported: {error}") from error
    if f"{target}.".startswith(ADDED):
        if not callable(found):
            raise Fault(f"'{target}' is not built: expected a class or a function, found {type(found).__name__}")
        return found
    if not isinstance(found, type) or not f"{found.__module__}.".startswith(ROOMS):
        raise Fault(f"'{target}' is not built: expected a class of {', '.join(ROOMS)}")
    if not target.startswith("src.") and not _KINDS & {f"{each.__module__}.{each.__name__}" for each in found.__mro__}:
        kinds = ", ".join(sorted(each.rpartition(".")[2] for each in _KINDS))
        raise Fault(f"'{target}' is not built: of the libraries' classes only these and theirs are: {kinds}")
    return found


def refuse_hydra(settings: Mapping[str, Any], typed: Sequence[str]) -> None:
    """Raise Fault where Hydra's own section would build something, or change the environment, on behalf of a file.

    An experiment file may set that section too. What a person types is their own.

    Args:
        settings: the section `hydra` of a composed config, as plain values.
        typed: the overrides of that section on the command line.
    """
    for key, value in _values("hydra", settings):
        name = key.rpartition(".")[2]
        named = name in ("_target_", "()", "class") and not str(value).startswith(_HYDRA_ROOMS)
        if (named or ".env_set." in key) and not any(_reaches(each, key) for each in typed):
            raise Fault(f"{key}={value}: no file sets this; where it is meant, it is typed on the command line")


def _reaches(override: str, key: str) -> bool:
    """Whether an override (`hydra.callbacks.x._target_=...`, `hydra/launcher=...`) is about `key`."""
    meant = override.lstrip("+~").partition("=")[0].replace("/", ".")
    return f"{key}.".startswith(f"{meant}.")


def _values(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The leaves below a value, each with its dotted key."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _values(f"{path}.{key}", each)
    elif isinstance(value, list):
        for each in value:
            yield from _values(path, each)
    else:
        yield path, value
