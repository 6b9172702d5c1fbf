"""Imports the class that the `_target_` of a config node names, if a config may name it.

A config file is a text that people pass on, so a class that is named in it must not be able to run
any code. A target is therefore a public class of this project or of four libraries. A class of the
project must be made for configs, that is, decorated with `@validate_init`. A class of a library
must be a layer, an optimizer, a schedule, a metric, a callback or a configuration. Everything else
is refused, since it could do anything: `torch.load` unpickles, `LightningCLI` builds whatever its
arguments name, and `torch.serialization.os.system` is reached through a module.

A package of the user's own can be allowed by the user alone, on the command line (`allow=PACKAGE`)
or in the environment, never by a file.
"""

import importlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from src.core.startup import silence_transformers
from src.core.user_errors import UserError, format_suggestion
from src.core.validation import is_validated

PACKAGES = ("src.", "lightning.", "torch.", "torchmetrics.", "transformers.")
ALLOWED_VARIABLE = "PALIMPSEST_ALLOWED_TARGETS"
# Classes that have moved: the name under which stored runs and users' files may hold each, and
# today's name.
MOVED = {
    "src.data.augmentation.Augmentation": "src.data.batches.augmentation.Augmentation",
    "src.data.batching.Labelled": "src.data.batches.batching.Labelled",
    "src.data.batching.Masked": "src.data.batches.batching.Masked",
    "src.data.causal_batching.Causal": "src.data.batches.causal_batching.Causal",
    "src.data.cleaning.Cleaning": "src.data.preparation.cleaning.Cleaning",
    "src.data.datamodule.TextDataModule": "src.data.data_config.DataConfig",
    "src.data.generated.Generated": "src.data.synthetic.reviews.Generated",
    "src.data.sentence_pairs.SentencePairs": "src.data.batches.sentence_pairs.SentencePairs",
    "src.data.sources.Source": "src.data.reading.sources.Source",
    "src.data.splitting.Split": "src.data.preparation.splitting.Split",
    "src.data.synthetic.Generated": "src.data.synthetic.reviews.Generated",
    "src.data.synthetic_tasks.GeneratedTask": "src.data.synthetic.tasks.GeneratedTask",
    "src.data.tokenizer.PretrainedTokenizer": "src.data.tokenization.tokenizer.PretrainedTokenizer",
    "src.data.tokenizer.WordPiece": "src.data.tokenization.tokenizer.WordPiece",
    "src.model.architecture.Pretrained": "src.model.encoder_config.Pretrained",
    "src.model.architecture.Scratch": "src.model.encoder_config.Scratch",
    "src.model.module.EncoderModule": "src.model.model_config.ModelConfig",
    "src.model.objectives.Classification": "src.model.objectives.classification.Classification",
    "src.model.objectives.MaskedLM": "src.model.objectives.masked_lm.MaskedLM",
    "src.model.objectives.MultiLabel": "src.model.objectives.multi_label.MultiLabel",
    "src.model.objectives.Regression": "src.model.objectives.regression.Regression",
    "src.search.plan.Search": "src.search.search_config.Search",
    "src.training.meter.Meter": "src.training.callbacks.TrainingMetrics",
}
# A class of a library must inherit from one of these, which go by the name of their own definition.
_LIBRARY_BASE_CLASSES = {
    "lightning.pytorch.callbacks.callback.Callback",
    "torch.nn.modules.module.Module",
    "torch.optim.lr_scheduler.LRScheduler",
    "torch.optim.optimizer.Optimizer",
    "torchmetrics.metric.Metric",
    "transformers.configuration_utils.PreTrainedConfig",
}
# Targets that the section `hydra` may name: Hydra's own sweeper and launcher, ours, log handlers.
_HYDRA_TARGET_PREFIXES = ("hydra._internal.", "hydra_plugins.", "logging.")


def _parse_names(text: str) -> tuple[str, ...]:
    return tuple(f"{name}." for name in re.findall(r"[\w.]*\w", text))


# The packages and classes that the user allows, each name with a dot behind it. The environment is
# read once, on import, because Hydra lets config files set environment variables later.
_allowed = _parse_names(os.environ.get(ALLOWED_VARIABLE, ""))


def take_allowed(arguments: Sequence[str]) -> list[str]:
    """Allow the packages of `allow=PACKAGE` on a command line, in this process and in those that it
    starts. Returns the arguments without `allow=`.
    """
    global _allowed
    typed = [argument for argument in arguments if re.match(r"\+*allow=\W*\w", argument)]
    for argument in typed:
        _allowed += _parse_names(argument.partition("=")[2])
    if typed:
        os.environ[ALLOWED_VARIABLE] = ",".join(name.removesuffix(".") for name in _allowed)
    return [argument for argument in arguments if argument not in typed]


def allowed_overrides() -> list[str]:
    """The override with which another command allows the same packages as this one; none if there
    are no such packages.
    """
    names = [name.removesuffix(".") for name in _allowed]
    return [f"allow={','.join(names)}"] if names else []


def update_moved_targets(value: Any) -> Any:
    """Plain values in which the `_target_` of each moved class has today's name."""
    if isinstance(value, Mapping):
        updated = {key: update_moved_targets(inner) for key, inner in value.items()}
        if isinstance(target := updated.get("_target_"), str):
            updated["_target_"] = MOVED.get(target, target)
        return updated
    return [update_moved_targets(inner) for inner in value] if isinstance(value, list) else value


def import_target(target: str) -> Callable[..., Any]:
    """The class that a `_target_` names.

    Raises:
        UserError: there is no such class, or a config must not build it.
    """
    target = MOVED.get(target, target)
    is_own = f"{target}.".startswith(_allowed)
    if not is_own and not target.startswith(PACKAGES):
        raise UserError(
            f"'{target}' is not built: a config builds from {', '.join(PACKAGES)} alone"
            + _suggest_allow(target)
        )
    if re.fullmatch(r"[a-zA-Z]\w*(\.[a-zA-Z]\w*)+", target) is None:
        raise UserError(f"'{target}' is not built: expected the dotted name of a public class")
    content = _import_name(target)
    if is_own:
        _check_own(target, content)
    else:
        _check_allowed_class(target, content)
    return content


def library_kinds(cls: Any) -> set[str]:
    """The names of the libraries' classes that a class is one of: `torchmetrics.metric.Metric`."""
    bases = {f"{base.__module__}.{base.__name__}" for base in getattr(cls, "__mro__", ())}
    return _LIBRARY_BASE_CLASSES & bases


def _import_name(target: str) -> Any:
    module, _, name = target.rpartition(".")
    if not target.startswith("src."):
        # It may import transformers, which reads on import what it may print.
        silence_transformers()
    try:
        content = importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = f"{module}.".startswith(f"{error.name}.") and "not a package" not in str(error)
        if missing and target.startswith("src."):
            raise UserError(f"there is no module '{module}'") from error
        raise UserError(f"'{target}' cannot be imported: {error}") from error
    # A module may raise anything while it is imported.
    except Exception as error:
        raise UserError(f"'{target}' cannot be imported: {error}") from error
    try:
        return getattr(content, name)
    except (AttributeError, ImportError) as error:
        if not target.startswith("src."):
            raise UserError(f"'{target}' cannot be imported: {error}") from error
        names = [key for key, value in vars(content).items() if _is_defined_in(value, module)]
        names += [old.rpartition(".")[2] for old in MOVED if old.rpartition(".")[0] == module]
        raise UserError(
            f"module '{module}' has no '{name}'; {format_suggestion(name, names)}"
        ) from error


def _is_defined_in(value: Any, module: str) -> bool:
    return isinstance(value, type) and value.__module__ == module


def _check_own(target: str, content: Any) -> None:
    """Refuse what a package of the user's own merely imports, unless the user has allowed that
    very name.
    """
    if not callable(content):
        raise UserError(
            f"'{target}' is not built: expected a class or a function, found "
            f"{type(content).__name__}"
        )
    origin = str(getattr(content, "__module__", ""))
    if f"{target}." not in _allowed and not f"{origin}.".startswith(_allowed):
        name = target.rpartition(".")[2]
        raise UserError(f"'{target}' is not built: {name} is only imported there, from {origin}")


def _check_allowed_class(target: str, content: Any) -> None:
    """Refuse everything but the classes of the project and of libraries that a config may build."""
    name = target.rpartition(".")[2]
    if inspect.isroutine(content):
        raise UserError(f"'{target}' is not built: it is a function, expected a class")
    if not isinstance(content, type):
        if target.startswith("src."):
            raise UserError(f"'{target}' is neither a class nor a function")
        raise UserError(f"'{target}' is not built: expected a class of {', '.join(PACKAGES)}")
    if not f"{content.__module__}.".startswith(PACKAGES):
        raise UserError(
            f"'{target}' is not built: {name} is only imported there, from {content.__module__}"
        )
    if target.startswith("src.") and not is_validated(content):
        raise UserError(
            f"'{target}' is not built: it is not made for configs; a class that is has "
            "@validate_init above it"
        )
    if not target.startswith("src.") and not library_kinds(content):
        kinds = ", ".join(sorted(base.rpartition(".")[2] for base in _LIBRARY_BASE_CLASSES))
        raise UserError(
            f"'{target}' is not built: of the libraries' classes only these and theirs are: {kinds}"
        )


def _suggest_allow(target: str) -> str:
    """The hint that `allow=` allows a target; empty if its package is one of Python's or ours."""
    top = target.partition(".")[0]
    if not re.fullmatch(r"[a-zA-Z]\w*", top) or f"{top}." in PACKAGES:
        return ""
    if top in sys.stdlib_module_names:
        return ""
    if importlib.util.find_spec(top) is None:
        return (
            f"; a package of your own is found in the working folder or on PYTHONPATH, where there "
            f"is no '{top}', and allow={top}, on the command line, adds it"
        )
    return f"; allow={top}, on the command line, adds your own package"


def check_hydra_section(settings: Mapping[str, Any], typed: Sequence[str]) -> None:
    """Raise UserError if a file makes Hydra build something or change the environment, since the
    file of an experiment may set the section `hydra` too. What the user types is allowed, except
    for folders, which Hydra would make and nothing be kept in.

    Args:
        settings: the section `hydra` of a composed config, as plain values.
        typed: the overrides of that section on the command line.
    """
    for key, value in _iter_leaf_values("hydra", settings):
        if _is_folder_of_hydra(key, value) and any(_is_override_of(word, key) for word in typed):
            raise UserError(
                "nothing is kept there: every run keeps its files in mlruns/",
                key=key,
                value=value,
                hint="tracking.root=/ABSOLUTE/FOLDER puts it elsewhere",
            )
        name = key.rpartition(".")[2]
        named = name in ("_target_", "()", "class") and not str(value).startswith(
            _HYDRA_TARGET_PREFIXES
        )
        if (named or ".env_set." in key) and not any(
            _is_override_of(override, key) for override in typed
        ):
            raise UserError(
                f"{key}={value}: no file sets this; where it is meant, it is typed on the command "
                "line"
            )


def _is_folder_of_hydra(key: str, value: Any) -> bool:
    """Whether a setting of Hydra asks for a folder of its own."""
    if key in ("hydra.job.chdir", "hydra.output_subdir"):
        return bool(value)
    return key in ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir") and value != "."


def _is_override_of(override: str, key: str) -> bool:
    """True if an override such as `hydra.callbacks.x._target_=...` sets `key` or a node that holds
    it.
    """
    changed = override.lstrip("+~").partition("=")[0].replace("/", ".")
    return f"{key}.".startswith(f"{changed}.")


def _iter_leaf_values(path: str, value: Any) -> "list[tuple[str, Any]]":
    """The leaves below a value, lists included, each with its dotted key."""
    if isinstance(value, Mapping):
        inner = [(f"{path}.{key}", child) for key, child in value.items()]
    elif isinstance(value, list):
        inner = [(path, child) for child in value]
    else:
        return [(path, value)]
    return [leaf for key, child in inner for leaf in _iter_leaf_values(key, child)]
