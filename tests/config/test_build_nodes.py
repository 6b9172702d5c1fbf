"""Schemas of nodes are the signatures of their classes, which are light."""

import dataclasses
import inspect
import subprocess
import sys
from typing import Annotated, Literal, get_type_hints

import pytest

from src.config.allowed_targets import MOVED, import_target
from src.config.build_nodes import read_schema, read_target_schema
from src.config.groups import list_options, load_option
from src.core.user_errors import UserError
from src.core.validation import Bound, NonNegativeInt, PositiveInt, Seed
from src.pipeline.run import read_task_schema

TARGETS = sorted(
    {
        load_option(group, choice)["_target_"]
        for group in (
            "data",
            "data/source",
            "data/cleaning",
            "data/split",
            "data/tokenizer",
            "data/batching",
            "model",
            "model/encoder",
            "model/optim",
            "trainer",
            "tracking",
        )
        for choice in list_options(group)
        if load_option(group, choice).get("_target_", "torch.").startswith("src.")
    }
    | {f"src.model.objectives.{name}" for name in ("MaskedLM", "Classification", "Regression")}
    | {
        "src.training.callbacks.Checkpoint",
        "src.training.callbacks.EarlyStopping",
        "src.training.callbacks.Milestone",
        "src.training.callbacks.TrainingMetrics",
        "src.training.callbacks.Progress",
    }
)


ROOMS = "src., lightning., torch., torchmetrics., transformers. alone"


def test_targets_are_found() -> None:
    assert len(TARGETS) == 28


def test_no_target_imports_what_is_heavy() -> None:
    """In a process of its own: the classes of all nodes of conf/, imported and looked at."""
    code = (
        "import sys\n"
        "from src.config.build_nodes import read_target_schema\n"
        "from src.config.allowed_targets import import_target\n"
        "for target in sys.argv[1:]: read_target_schema(import_target(target))\n"
        "print(*sys.modules)"
    )
    command = [sys.executable, "-c", code, *TARGETS]
    modules = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    heavy = {"torch", "lightning", "mlflow", "transformers", "datasets", "torchmetrics", "optuna"}
    assert "src.model.model_config" in modules and not heavy & set(modules)


@pytest.mark.parametrize("target", TARGETS)
def test_nodes_are_frozen_dataclasses(target: str) -> None:
    cls = import_target(target)
    assert dataclasses.is_dataclass(cls)
    assert cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert all(field.kw_only for field in dataclasses.fields(cls))


@pytest.mark.parametrize("target", TARGETS)
def test_the_schema_says_what_the_import_says(target: str) -> None:
    cls = import_target(target)
    hints = get_type_hints(inspect.unwrap(cls.__init__), include_extras=True)  # type: ignore[misc]
    schema = read_target_schema(cls)
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    assert not schema.open and list(schema.parameters) == [field.name for field in fields]
    for field in fields:
        optional = {field.default, field.default_factory} != {dataclasses.MISSING}
        assert schema.parameters[field.name].required == (not optional)
        assert schema.parameters[field.name].annotation == hints[field.name]


def test_the_task_takes_what_a_config_has_and_no_hooks() -> None:
    schema = read_task_schema()
    assert {"data", "model", "seed", "init_from"} <= set(schema.parameters)
    assert "hooks" not in schema.parameters and not schema.open
    assert schema.parameters["seed"] == (Seed, True)


def test_annotations_are_understood() -> None:
    batching = read_schema(import_target("src.data.batches.batching.Masked"))
    assert batching.parameters["row_tokens"].annotation == Annotated[int, Bound(least=8)]
    # a class constant is no argument
    assert "kind" not in batching.parameters
    data = read_schema(import_target("src.data.data_config.DataConfig"))
    assert (
        data.parameters["task"].annotation
        == Literal[
            "masked_lm",
            "causal_lm",
            "masked_lm_with_next_sentence",
            "denoising",
            "classification",
            "multi_label",
            "regression",
            "token_classification",
        ]
    )
    assert data.parameters["train_rows"].annotation == PositiveInt | None
    model = read_schema(import_target("src.model.model_config.ModelConfig"))
    assert (
        model.parameters["freeze"].annotation
        == Literal["nothing", "embeddings", "encoder"] | NonNegativeInt
    )


def test_moved_targets_are_found_under_their_old_names() -> None:
    for old, new in MOVED.items():
        assert new not in MOVED
        assert import_target(old) is import_target(new)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("os.system", "'os.system' is not built: a config builds from " + ROOMS),
        (
            "src.model.objectives.MaskLM",
            "module 'src.model.objectives' has no 'MaskLM'; did you mean 'MaskedLM'?",
        ),
        ("src.modle.objectives.MaskedLM", "there is no module 'src.modle.objectives'"),
        (
            "src.data.batches.batching.Batching",
            "'src.data.batches.batching.Batching' is neither a class nor a function",
        ),
        ("src", "'src' is not built: a config builds from " + ROOMS),
    ],
)
def test_targets_that_are_refused(target: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        import_target(target)
    assert str(caught.value) == message


def test_classes_of_other_libraries_are_read_too() -> None:
    schema = read_target_schema(import_target("lightning.pytorch.callbacks.EarlyStopping"))
    assert {"monitor", "patience"} <= set(schema.parameters)
    assert schema.parameters["monitor"] == (str, True)


def test_an_optimizer_of_a_library_has_the_keys_of_ours() -> None:
    schema = read_target_schema(import_target("torch.optim.SGD"))
    assert {"lr", "weight_decay", "momentum", "warmup_fraction", "schedule"} <= set(
        schema.parameters
    )
    assert not {"params", "cls", "arguments"} & set(schema.parameters)
    assert [name for name, key in schema.parameters.items() if key.required] == ["lr"]
